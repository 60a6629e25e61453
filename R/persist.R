# Models as bytes, in the format of saveRDS() without its compression.

pack_model <- function(model) list(bytes = serialize(model, NULL))

unpack_model <- function(bytes) {
  model <- unserialize(bytes)
  if (!methods::is(model, "merMod")) stop("the object is a ", class(model)[1], ", not a model of lme4", call. = FALSE)
  list(model = model)
}

# A model that another program fitted to the same data, in the form in which fit_mixed() leaves it: its formula owns
# the environment that holds the data, and the call is short. The names of its coefficients and these themselves tell
# whether it is the one that is meant.
adopt_model <- function(bytes, formula, data, weights = NULL, offset = NULL) {
  model <- unpack_model(bytes)$model
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
  list(model = model, coefficients = as.vector(lme4::fixef(model)), vcov = unname(fixed_covariance(model)))
}
