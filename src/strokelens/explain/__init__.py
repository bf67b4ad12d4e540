"""Why a network answers as it does: relevance of each voxel of each map, what it is worth, and its rivals."""
