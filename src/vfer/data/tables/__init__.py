"""Feature tables: CSV files of OpenFace and py-feat that hold the action units of one clip, one row per frame."""
