"""Why a network says so: relevance of each voxel of each channel, and how good that relevance is."""
