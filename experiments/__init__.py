"""Named sweeps with what they claim and the figures that show it: one module each, named like its conf/experiment/NAME.yaml."""
