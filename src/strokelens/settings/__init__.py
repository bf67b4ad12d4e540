"""Settings of a training, as one frozen value, in JSON on disk; the published ones come with us."""
