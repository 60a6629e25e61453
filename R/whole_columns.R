# Variables of a formula that are functions of a whole column, such as x - mean(x). What a row predicts must not
# depend on the rows beside it: for new rows such a variable is computed as it was in the fit. R does so where scale(),
# poly() or a spline is the outermost call (see ?makepredictcall), and keeps the expressions for new rows in the
# attribute `predvars` of the terms. Here these are checked, and completed.

# The model with expressions for new rows that no row beside them changes, or that refuse what the fit has no value for.
for_new_rows <- function(model) {
  for (part in c("fixed", "random")) {
    terms <- stats::terms(model, fixed.only = part == "fixed", random.only = part == "random")
    known <- new_row_calls(terms)
    computed <- which(vapply(known, is.call, NA) & seq_along(known) != attr(terms, "response"))
    if (length(computed) == 0) next
    variables <- as.list(attr(terms, "variables"))[-1]
    names <- variable_names(terms)
    known[computed] <- lapply(computed, function(i) carried_variable(variables[[i]], known[[i]], names[i], model))
    attr(attr(model@frame, "terms"), paste0("predvars.", part)) <- as.call(c(quote(list), known))
  }
  list(model = model)
}

# The expressions that stand for the variables of some terms in new rows.
new_row_calls <- function(terms) {
  known <- attr(terms, "predvars")
  as.list(if (is.null(known)) attr(terms, "variables") else known)[-1]
}

# `variable` as the formula has it, `known` as R evaluates it for new rows, `name` what the model frame calls it.
carried_variable <- function(variable, known, name, model) {
  env <- environment(stats::formula(model))
  columns <- unclass(env$data)[intersect(all.vars(variable), names(env$data))]
  fitted <- model@frame[[name]]
  if (length(columns) == 0 || is.null(plain_rows(fitted))) return(known)
  omitted <- attr(model@frame, "na.action")
  used <- if (length(omitted)) seq_len(nrow(env$data))[-omitted] else seq_len(nrow(env$data))
  of_fit <- list(columns = columns, used = used, env = env, label = name)
  if (stands_alone(known, fitted, of_fit)) return(known)
  value <- evaluated(variable, columns, env)
  if (is_a_row_each(value, of_fit) && same_rows(rows_of(value, used), fitted)) {
    return(carried_call(variable, of_fit, value))
  }
  looked_up(fitted, lapply(columns, `[`, used), name)
}

# A call in which what has not a value for each row, such as mean(x) or quantile(x), is what it was in the fit, and so
# are the means and knots of the calls inside it. What depends on the rows beside it even then is looked up.
carried_call <- function(call, of_fit, value = evaluated(call, of_fit$columns, of_fit$env)) {
  inputs <- intersect(all.vars(call), names(of_fit$columns))
  if (length(inputs) == 0 || is_definition(call)) return(call)
  if (!is.null(value) && !is_a_row_each(value, of_fit)) return(if (is.language(value)) call("quote", value) else value)
  made <- call
  for (i in seq_along(made)) if (is.call(made[[i]])) made[[i]] <- carried_call(made[[i]], of_fit)
  if (is.null(value) || is.null(plain_rows(value))) return(made)
  of_fit$columns <- of_fit$columns[inputs]
  made <- with_fitted_means(made, value, of_fit)
  again <- evaluated(made, of_fit$columns, of_fit$env)
  fitted <- rows_of(value, of_fit$used)
  is_carried <- is_a_row_each(again, of_fit) && same_rows(rows_of(again, of_fit$used), fitted)
  if (is_carried && stands_alone(made, fitted, of_fit)) made else looked_up(value, of_fit$columns, of_fit$label)
}

is_a_row_each <- function(value, of_fit) !is.null(value) && NROW(value) == length(of_fit$columns[[1]])

is_definition <- function(call) identical(call[[1]], quote(`function`)) || identical(call[[1]], quote(`~`))

# A call with the means, knots and breaks that it had in the fit.
with_fitted_means <- function(call, value, of_fit) {
  called <- tryCatch(eval(call[[1]], of_fit$env), error = function(e) NULL)
  if (identical(called, base::cut)) return(with_fitted_breaks(call, value, of_fit))
  if (identical(called, base::scale)) call[[1]] <- quote(scale)
  stats::makepredictcall(value, call)
}

# A number of breaks as the breaks themselves, by the rule in ?cut.
with_fitted_breaks <- function(call, value, of_fit) {
  call <- match.call(base::cut.default, call)
  count <- evaluated(call$breaks, of_fit$columns, of_fit$env)
  x <- evaluated(call$x, of_fit$columns, of_fit$env)
  if (!is.numeric(count) || length(count) != 1 || !is.numeric(x)) return(call)
  ends <- range(x, na.rm = TRUE)
  inner <- seq(ends[1], ends[2], length.out = count + 1)[-c(1, count + 1)]
  call$breaks <- c(ends[1] - diff(ends) / 1000, inner, ends[2] + diff(ends) / 1000)
  if (is.factor(value)) call$labels <- levels(value)
  call
}

# Whether rows of the fit, which have the values `fitted`, keep them one by one, and rows of any make have the same
# apart and together.
stands_alone <- function(call, fitted, of_fit) {
  columns <- lapply(of_fit$columns, `[`, of_fit$used)
  rows <- telling_rows(columns, fitted)
  own <- lapply(columns, `[`, rows)
  mixed <- Map(function(column, by) column[(seq_along(column) + by - 1) %% length(column) + 1], own, seq_along(own))
  alone <- one_by_one(call, own, of_fit$env)
  if (!same_rows(alone, rows_of(fitted, rows))) return(FALSE)
  if (!same_rows(evaluated(call, lapply(own, rep, 2), of_fit$env), rbind(alone, alone))) return(FALSE)
  if (length(own) == 1) return(TRUE)
  together <- evaluated(call, mixed, of_fit$env)
  is.null(together) || same_rows(one_by_one(call, mixed, of_fit$env), together)
}

# Values of a call for each row by itself; NULL where one has none.
one_by_one <- function(call, columns, env) {
  found <- lapply(seq_along(columns[[1]]), function(i) plain_rows(evaluated(call, lapply(columns, `[`, i), env)))
  shapes <- lapply(found, dim)
  if (all(vapply(shapes, identical, NA, c(1L, ncol(found[[1]]))))) do.call(rbind, found)
}

# Rows at which a dependence on the others shows: the ends of each column and of the values, and some between.
telling_rows <- function(columns, fitted) {
  values <- plain_rows(fitted)[, 1]
  ends <- lapply(c(columns, list(values)), function(x) {
    x <- if (is.character(x)) match(x, unique(x)) else as.numeric(x)
    c(which.min(x), which.max(x))
  })
  unique(c(round(seq(1, length(values), length.out = 5)), unlist(ends)))
}

evaluated <- function(call, columns, env) {
  tryCatch(suppressWarnings(eval(call, columns, env)), error = function(e) NULL)
}

rows_of <- function(value, rows) if (length(dim(value)) == 2) value[rows, , drop = FALSE] else value[rows]

# A value as a matrix of numbers or text, a row each; NULL for what is neither.
plain_rows <- function(value) {
  if (is.factor(value)) value <- as.character(value)
  if (!is.character(value) && !is.numeric(value) && !is.logical(value)) return(NULL)
  matrix(if (is.character(value)) as.vector(value) else as.numeric(value), NROW(value))
}

# Equal but for rounding, as a share of the largest.
same_rows <- function(a, b) {
  a <- plain_rows(a)
  b <- plain_rows(b)
  identical(dim(a), dim(b)) && !is.null(a) && is.character(a) == is.character(b) && !any(differing_rows(a, b))
}

differing_rows <- function(a, b, scale = b) {
  close <- if (is.character(a)) a == b else a == b | abs(a - b) <= 1e-8 * max(abs(scale[is.finite(scale)]), 0)
  close <- ifelse(is.na(a) | is.na(b), is.na(a) & is.na(b), close)
  rowSums(!close) > 0
}

# A call of a function that knows the values of the rows that were fitted, and refuses others.
looked_up <- function(value, columns, label) {
  plain <- plain_rows(value)
  columns <- columns[decisive(columns, plain)]
  distinct <- lapply(columns, function(column) unique(key_of(column)))
  keys <- row_keys(columns, distinct)
  first <- match(keys, keys)
  split <- unique(keys[differing_rows(plain, plain[first, , drop = FALSE])])
  complete <- !is.na(keys)
  find <- function(...) {
    given <- list(...)
    asked <- row_keys(given, distinct)
    if (identical(asked, keys[complete])) return(rows_of(value, complete))
    place <- match(replace(asked, asked %in% split, NA), keys, incomparables = NA)
    lost <- is.na(place) & !Reduce(`|`, lapply(given, is.na))
    if (any(lost)) refuse_row(label, setNames(lapply(given, `[`, which(lost)[1]), names(columns)))
    rows_of(value, place)
  }
  as.call(c(find, lapply(names(columns), as.name)))
}

# The columns that decide on a value. One that the others make up for, with fewer distinct rows than there are with
# it, is left out: a group's mean is known from the group.
decisive <- function(columns, plain) {
  keys <- function(chosen) row_keys(chosen, lapply(chosen, function(column) unique(key_of(column))))
  decides <- function(chosen) {
    found <- keys(chosen)
    !any(differing_rows(plain, plain[match(found, found), , drop = FALSE])[!is.na(found)])
  }
  count <- length(unique(keys(columns)))
  spare <- vapply(seq_along(columns), function(i) {
    length(columns) > 1 && length(unique(keys(columns[-i]))) < count && decides(columns[-i])
  }, NA)
  if (any(spare) && !all(spare) && decides(columns[!spare])) names(columns)[!spare] else names(columns)
}

key_of <- function(column) if (is.factor(column)) as.character(column) else as.vector(column)

# One text a row, equal where the rows are; NA where one has a value that is missing or not among the `distinct` ones.
row_keys <- function(columns, distinct) {
  codes <- Map(function(column, among) match(key_of(column), among, incomparables = NA), columns, distinct)
  unknown <- Reduce(`|`, lapply(codes, is.na))
  replace(do.call(paste, unname(codes)), unknown, NA)
}

refuse_row <- function(label, given) {
  shown <- vapply(given, function(value) format(if (is.factor(value)) as.character(value) else value, digits = 15), "")
  refuse_formula(
    label, " is computed from all rows of the data at once, and what it is for a new row with ",
    paste(names(given), shown, sep = " = ", collapse = ", "), " the fit does not tell. Write scale(), poly() or cut(), ",
    "whose means and breaks are carried to new rows, or make it a column of the data before the fit and give that ",
    "column for new rows too."
  )
}
