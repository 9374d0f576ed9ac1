"""Readers and writers: NIfTI, NRRD, MetaImage and DICOM to and from `Volume`."""
