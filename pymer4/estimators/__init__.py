"""Behind the names of `sklearn`: what all estimators share."""
