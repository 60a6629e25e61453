# What a script that fits a model again has to say, beside the values that are put into `scripts.txt`.

# The formula, as every lme4 reads it alike; the functions in it that only this session knows; the versions at hand.
script_facts <- function(formula, packages) {
  parsed <- parsed_text(formula)[[2]]
  split <- split_bars(parsed)
  own <- Filter(function(name) exists(name, globalenv(), inherits = FALSE), called_functions(parsed))
  list(
    formula = scalar(if (identical(parsed, split) && !grepl("[#\n]", formula)) formula else as_text(split)), own = own,
    versions = c(list(R = scalar(as.character(getRversion()))), load_packages(packages)$versions)
  )
}
