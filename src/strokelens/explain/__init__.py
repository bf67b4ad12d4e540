"""Why a network says what it says: maps of relevance, and how they are measured."""
