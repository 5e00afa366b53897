"""The fault matrix: what a learner can break, and whether the labs name the cause."""
