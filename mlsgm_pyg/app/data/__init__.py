"""What a run is trained on and evaluated on."""
