"""One case in, one finding out: by thresholds or by networks; and a whole cohort by networks."""
