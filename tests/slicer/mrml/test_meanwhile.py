"""Another CT is chosen, while an answer is awaited or between two: results, labels and objects stay with their own."""

from __future__ import annotations

from pathlib import Path

from scripted import Bench

from ColipriLib.scene import heat


def shown_volumes(bench: Bench) -> set[str]:
    return {view.GetBackgroundVolumeID() for view in heat.slice_composites(bench.logic.desk.scene)}


def test_an_analysis_goes_on_with_the_volume_it_was_asked_of(bench: Bench) -> None:
    with bench.running(bench.logic.analysis.analyse):
        bench.logic.desk.choose(bench.second)

    case = bench.logic.desk.case_of(bench.first)
    assert case is not None
    assert len(case.findings) == 2
    assert len(case.structures) == 1
    assert bench.logic.desk.case_of(bench.second) is None
    assert bench.logic.desk.params.node_of("structures", bench.first) is not None
    assert bench.logic.desk.params.node_of("structures", bench.second) is None
    assert bench.first.GetID() not in shown_volumes(bench)


def test_the_map_of_a_phrase_belongs_to_the_volume_it_was_asked_of(bench: Bench) -> None:
    scene = bench.logic.desk.scene
    with bench.running(lambda: bench.logic.analysis.ask("pleural effusion")):
        bench.logic.desk.choose(bench.second)

    assert [node.GetName() for node in heat.heat_maps(scene, bench.first)] == ["Evidence: pleural effusion"]
    assert heat.heat_maps(scene, bench.second) == []
    assert heat.shown_phrases(scene) == frozenset(), "the slice views stay with the CT that was chosen"


def test_each_volume_has_a_current_object_of_its_own(bench: Bench, tmp_path: Path) -> None:
    bench.click(6, 10, 8)
    bench.labelling.add_object()
    bench.finish()
    assert bench.logic.view().label.current == 2

    bench.logic.desk.choose(bench.second)
    assert bench.logic.view().label.current == 1
    bench.click(6, 10, 8)
    bench.finish()
    assert [item.name for item in bench.labelling.state.objects] == ["Object 1"]
    bench.logic.desk.choose(bench.first)
    assert bench.logic.view().label.current == 2

    scene = bench.logic.desk.scene
    assert scene.WriteToMRB(str(tmp_path / "case.mrb"))
    bench.logic.desk.forget()
    scene.Clear(0)
    assert scene.ReadFromMRB(str(tmp_path / "case.mrb"))
    bench.logic.begin(scene.GetFirstNodeByName("Colipri"))
    assert bench.logic.view().label.current == 2
