# What the arrays of a mixed model are made of, told from its formula without the rows. Whoever holds the columns makes
# the arrays; what functions make of columns is computed here.

# `data` are columns without rows, with the levels of the factors that stand in terms.
#   variables  of the model frame: the `columns` that they are as they stand, "" where a function makes them of
#              those that it `takes`
#   response   which of them is the outcome
#   offsets    which are known parts of it
#   fixed      the terms of the fixed part, by design_terms()
#   random     those left of each bar, with `group`, the name of what is right of it, the columns that are `crossed`
#              there, or those that a function of `text` makes it of (`made`)
#   codings    the contrasts of the factors that have others than treatment contrasts
#   unread     what is not told of, as it is written
read_design <- function(formula, data, contrasts = NULL) {
  data <- with_codings(data, contrasts)
  formula <- design_formula(formula, data)
  whole <- frame_terms(formula)
  variables <- as.list(attr(whole, "variables"))[-1]
  names <- variable_names(whole)
  columns <- vapply(variables, bare_column, "", names(data))
  bars <- taken_apart("findbars")(formula)
  fixed <- design_terms(taken_apart("nobars")(formula[[3]]), names)
  random <- lapply(bars, function(bar) {
    group <- bar[[3]]
    parts <- vapply(crossed_parts(group), bare_column, "", columns)
    c(design_terms(bar[[2]], names), list(
      group = scalar(one_line(group)), text = scalar(as_text(group)), crossed = if (all(nzchar(parts))) parts,
      made = intersect(all.vars(group), columns)
    ))
  })
  structured <- Filter(function(term) head_name(term) %in% structure_calls, written_bars(formula[[3]]))
  echoed <- if (names[1] %in% names[fixed$variables]) list(formula[[2]])
  factors <- unique(unlist(lapply(c(list(fixed), random), function(part) columns[part$variables])))
  list(
    variables = list(columns = columns, takes = lapply(variables, columns_in, names(data))), response = scalar(1L), offsets = as.integer(attr(whole, "offset")),
    fixed = fixed, random = random, codings = Filter(length, lapply(data[intersect(names(data), factors)], coding_of)),
    unread = vapply(c(structured, echoed), as_text, "")
  )
}

# The variables `which` of a formula where they and `rows`, by default all, are complete: as model.frame() has them,
# which computes them on all rows first. `omitted` are those among `rows` that it leaves out.
computed_variables <- function(formula, which, data, rows = NULL, contrasts = NULL) {
  data <- with_codings(data, contrasts)
  formula <- design_formula(formula, data)
  variables <- as.list(attr(frame_terms(formula), "variables"))[-1][which]
  alone <- stats::as.formula(call("~", sum_of(variables)), environment(formula))
  frame <- do.call(stats::model.frame, list(alone, data, subset = rows, drop.unused.levels = TRUE))
  values <- lapply(unclass(frame)[vapply(variables, one_line, "")], plain_variable)
  list(values = unname(values), omitted = as.integer(attr(frame, "na.action")))
}

# Groups that functions make of columns of the rows used, which are factors here, as lme4 has them.
computed_groups <- function(groups, data) {
  list(groups = lapply(groups, function(text) {
    found <- factor(eval(str2lang(text), data, globalenv()), exclude = NA)
    list(codes = as.integer(found) - 1L, levels = levels(found))
  }))
}

# The levels that R makes of numbers.
number_levels <- function(values) list(levels = as.character(values))

# What lme4 says of a fixed design from which it drops some columns, and whose columns have standard deviations from
# the first to the second of `scales`: said of another design, that is as wanting.
say_of_design <- function(dropped, scales) {
  data <- data.frame(y = seq_len(16), g = gl(4, 4))
  X <- sweep(cbind(rep(c(-1, 1), 8), rep(c(-1, -1, 1, 1), 4)), 2, scales * sqrt(15 / 16), `*`)
  X[, scales == 0] <- 2
  data$X <- X[, c(which(!duplicated(scales)), rep(1, dropped))]
  lme4::lFormula(y ~ 0 + X + (1 | g), data)
  list()
}

with_codings <- function(data, contrasts) {
  for (name in names(contrasts)) data[[name]] <- with_contrasts(data[[name]], contrasts[[name]])
  data
}

design_formula <- function(text, data) {
  formula <- split_bars(stats::as.formula(parsed_text(text)[[2]], env = model_environment(data, NULL)))
  refuse_unknown_functions(formula)
  formula
}

frame_terms <- function(formula) stats::terms(taken_apart("subbars")(formula))

# The column that an expression is, also as an offset; "" for none.
bare_column <- function(part, columns) {
  if (head_name(part) == "offset" && length(part) == 2) part <- part[[2]]
  if (is.name(part) && as.character(part) %in% columns) as.character(part) else ""
}

# One side as products of variables.
#   variables  their places among `names`, those of the model frame; NA for what is not there
#   labels     what R calls them in the names of columns
#   factors    which are in each term, a column each: 1 a factor by its contrasts, 2 by a column a level
design_terms <- function(side, names) {
  terms <- stats::terms(stats::as.formula(call("~", side)))
  own <- variable_names(terms)
  factors <- attr(terms, "factors")
  if (!length(factors)) factors <- matrix(0L, length(own), 0, dimnames = list(own, NULL))
  list(
    intercept = scalar(attr(terms, "intercept") == 1), variables = match(own, names),
    labels = as.character(rownames(factors)), factors = unname(factors)
  )
}

# What model.matrix() takes from a variable.
plain_variable <- function(value) {
  if (is.logical(value) && is.null(dim(value))) value <- factor(value, c(FALSE, TRUE))
  if (is.character(value)) value <- factor(value)
  if (is.factor(value)) return(list(codes = as.integer(value) - 1L, levels = levels(value), coding = coding_of(value)))
  if (!is.numeric(value)) stop("a variable that is neither numbers nor a factor")
  list(numbers = matrix(as.double(value), NROW(value)), names = colnames(value))
}

# The contrasts of a factor: their names, NULL where they are numbered, and a row a level; NULL for treatment contrasts.
coding_of <- function(column) {
  if (!is.factor(column) || (is.null(attr(column, "contrasts")) && !is.ordered(column))) return(NULL)
  matrix <- stats::contrasts(column)
  list(names = colnames(matrix), matrix = unname(matrix))
}
