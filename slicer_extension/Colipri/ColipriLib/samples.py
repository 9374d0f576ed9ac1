"""The generated chest phantom that the module Sample Data offers."""

from __future__ import annotations

from pathlib import Path

SAMPLE = "ColipriPhantomChest"
SAMPLE_URL = (
    "https://raw.githubusercontent.com/napari-colipri/napari-colipri/main/napari_colipri/samples/phantom_chest.nii.gz"
)
SAMPLE_SHA256 = "e62c32fb0b02fca7b3d6513c70a5ea40233fdc578089ab2e21c9633b1134738d"


def register() -> None:
    """Offer the generated chest phantom in the module Sample Data."""
    import SampleData

    icon = Path(__file__).parents[1] / "Resources" / "Icons" / "ColipriSample.png"
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="COLIPRI",
        sampleName=SAMPLE,
        thumbnailFileName=str(icon),
        uris=SAMPLE_URL,
        fileNames="ColipriPhantomChest.nii.gz",
        nodeNames=SAMPLE,
        checksums=f"SHA256:{SAMPLE_SHA256}",
    )
