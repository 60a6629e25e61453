# Models as bytes, in the format of saveRDS() without its compression.

pack_model <- function(model) list(bytes = serialize(handed_out(model)$model, NULL))

# The model for users and files: of lmerTest's class where it was fitted with Satterthwaite's df.
handed_out <- function(model) list(model = if (is.null(satterthwaite_of(model))) model else as_lmertest(model))

unpack_model <- function(bytes) {
  model <- unserialize(bytes)
  if (inherits(model, "lmerModLmerTest")) loadNamespace("lmerTest")
  if (!methods::is(model, "merMod")) stop("the object is a ", class(model)[1], ", not a model of lme4", call. = FALSE)
  list(model = model)
}

# The levels of the columns that were factors in the fit, in their order: of a model of ours those of its data, else of
# its model frame. Text has none there; its levels are in the order of the columns that stand for them in the design.
fitted_levels <- function(model, own) {
  columns <- unclass(if (own) environment(stats::formula(model))$data else model@frame)
  terms <- stats::terms(model)
  texts <- if (!own) intersect(names(Filter(is.character, columns)), attr(terms, "term.labels"))
  c(
    lapply(Filter(is.factor, columns), function(column) list(levels = levels(column), ordered = scalar(is.ordered(column)))),
    lapply(setNames(nm = texts), function(name) list(levels = coded_levels(model, name), ordered = scalar(FALSE)))
  )
}

# Levels in the order of their columns, the first being the reference, which has none.
coded_levels <- function(model, name) {
  X <- lme4::getME(model, "X")
  own <- X[, attr(X, "assign") == match(name, attr(stats::terms(model), "term.labels")), drop = FALSE]
  text <- model@frame[[name]]
  levels <- sort(unique(text), method = "radix")
  column <- vapply(match(levels, text), function(row) if (any(own[row, ] != 0)) which.max(own[row, ]) else 0L, 0L)
  levels[order(column)]
}

# A model that another program fitted to the same data, in the form in which fit_mixed() leaves it: its formula owns
# the environment that holds the data, and the call is short. Its coefficients tell whether it is the one that is
# meant, its design whether the data are. They have the levels that fitted_levels() tells.
adopt_model <- function(model, formula, data, weights = NULL, offset = NULL) {
  for (name in intersect(names(data), names(model@frame))) {
    coding <- attr(model@frame[[name]], "contrasts")
    if (is.factor(data[[name]]) && !is.null(coding)) attr(data[[name]], "contrasts") <- coding
  }
  env <- model_environment(data, NULL)
  call <- model_call(formula, env, weights, offset)
  if (lme4::isGLMM(model)) {
    call[[1]] <- quote(lme4::glmer)
    family <- stats::family(model)
    call$family <- as.call(list(as.name(sub("\\(.*", "", family$family)), link = family$link))
  } else if (!lme4::isREML(model)) {
    call$REML <- FALSE
  }
  model@call <- call
  attr(model@frame, "formula") <- call$formula
  terms <- attr(model@frame, "terms")
  attr(terms, ".Environment") <- env
  attr(model@frame, "terms") <- terms
  omitted <- attr(model@frame, "na.action")
  used <- if (length(omitted)) data[-omitted, , drop = FALSE] else data
  X <- tryCatch(unname(plain_matrix(fixed_design(model, used))), error = function(e) NULL)
  list(
    model = model, coefficients = as.vector(lme4::fixef(model)), vcov = unname(fixed_covariance(model)),
    same_design = scalar(isTRUE(all.equal(X, unname(plain_matrix(lme4::getME(model, "X"))))))
  )
}
