"""Networks: named channels on one grid → logits on that grid. They know no patients, no files and no losses."""
