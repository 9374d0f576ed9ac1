"""What pretrained encoders are for: segmentation and classification with few labels, from any encoder or none."""
