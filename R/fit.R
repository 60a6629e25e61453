# Fit linear mixed models. The formula owns the environment that holds its data,
# so that update, refit, profile and emmeans find it, here and in a new process.

# `family` is NULL for a linear mixed model, else a list of name and link.
fit_mixed <- function(formula, data, weights = NULL, offset = NULL, REML = TRUE, control = NULL, verbose = 0L,
                      family = NULL, nAGQ = 1L, contrasts = NULL, ddf = "Satterthwaite", level = 0.95) {
  for (name in names(contrasts)) data[[name]] <- with_contrasts(data[[name]], contrasts[[name]])
  maker <- if (is.null(family)) lme4::lmerControl else lme4::glmerControl
  env <- model_environment(data, make_control(control, maker))
  call <- model_call(formula, env, weights, offset)
  refuse_unknown_functions(call$formula)
  model <- if (is.null(family)) {
    if (!REML) call$REML <- FALSE
    fit_linear(call, env, verbose, ddf == "Satterthwaite")
  } else {
    fit_generalized(call, env, family, nAGQ, verbose)
  }
  c(describe(model, ddf, level), list(model = model))
}

# The linear model that has its optimum at theta, in the order of lme4, as `fit_mixed()` would have left it, and its
# criterion. `satterthwaite` are V, its derivatives by some parameters as columns, and A, as who found theta has them:
# by differences they would lose digits where predictors are far from 0.
model_at <- function(formula, data, theta, weights = NULL, offset = NULL, REML = TRUE, contrasts = NULL,
                     ddf = "Satterthwaite", satterthwaite = NULL) {
  for (name in names(contrasts)) data[[name]] <- with_contrasts(data[[name]], contrasts[[name]])
  env <- model_environment(data, NULL)
  call <- model_call(formula, env, weights, offset)
  if (!REML) call$REML <- FALSE
  model <- fit_linear(call, env, 0L, ddf == "Satterthwaite" && is.null(satterthwaite), theta)
  if (!is.null(satterthwaite)) {
    p <- ncol(satterthwaite$V)
    jacobian <- satterthwaite$jacobian
    attr(model, "satterthwaite") <- list(
      V = matrix(satterthwaite$V, p, dimnames = rep(list(colnames(model@pp$X)), 2L)), A = satterthwaite$A,
      jacobian = lapply(seq_len(ncol(jacobian)), function(j) matrix(jacobian[, j], p))
    )
  }
  list(model = model, criterion = -2 * as.numeric(stats::logLik(model)))
}

# `coding` is a matrix, one row a level, and the names of its columns.
with_contrasts <- function(column, coding) {
  matrix <- coding$matrix
  dimnames(matrix) <- list(levels(column), coding$names)
  stats::contrasts(column) <- matrix
  column
}

model_environment <- function(data, control) {
  env <- new.env(parent = globalenv())
  env$data <- data
  if (!is.null(control)) env$control <- control
  env
}

# `control` is the text between the parentheses of lmerControl(), or its arguments
# as a list. The text is read as if lme4 were attached.
make_control <- function(control, maker) {
  if (is.null(control)) return(NULL)
  space <- asNamespace("lme4")
  arguments <- control
  if (is.character(control)) arguments <- as.list(parsed_text(control, "list"))[-1]
  taken <- setdiff(names(formals(maker)), "...")
  unknown <- setdiff(names(arguments), taken)
  if (length(unknown)) {
    refuse_option("control sets '", unknown[1], "', which lme4 does not take. It takes: ", toString(taken), ".")
  }
  if (is.name(arguments$optimizer)) {
    refuse_option("control names an optimizer without quotes: write optimizer = '", arguments$optimizer, "'.")
  }
  optimizer <- eval(arguments$optimizer, space)
  for (name in if (is.character(optimizer)) optimizer) {
    if (!exists(name, space, mode = "function") && name != "optimx") {
      refuse_option(
        "control names the optimizer '", name, "', which R does not find. lme4 has bobyqa, Nelder_Mead, nlminbwrap ",
        "and nloptwrap."
      )
    }
  }
  eval(as.call(c(maker, arguments)), space)
}

linear_control <- function(env) if (is.null(env$control)) lme4::lmerControl() else env$control

# The call that is stored with the model: short, and free of data. `weights` and `offset` are the name of a column,
# a vector, or NULL.
model_call <- function(formula, env, weights, offset) {
  call <- quote(lmerTest::lmer(formula = NULL, data = data))
  call$formula <- split_bars(stats::as.formula(parsed_text(formula)[[2]], env = env))
  if (!is.null(weights)) call$weights <- as.name(column_in(env, weights, ".weights"))
  if (!is.null(offset)) call$offset <- as.name(column_in(env, offset, ".offset"))
  if (!is.null(env$control)) call$control <- quote(control)
  call
}

# (1 + x || g) is (1 | g) + (0 + x | g), a term for each effect, and (1 | g / k) is (1 | k:g) + (1 | g), as lme4 says.
# It makes the former of text in 1.1 and the latter in 2, without the quotes of names that need some, which then name
# something else or nothing.
split_bars <- function(part) {
  if (!is.call(part)) return(part)
  bar <- if (identical(part[[1]], quote(`(`)) && is.call(part[[2]])) part[[2]]
  if (is.call(bar) && as.character(bar[[1]])[1] %in% c("|", "||")) {
    effects <- if (identical(bar[[1]], quote(`||`))) separate_effects(bar[[2]]) else list(bar[[2]])
    groups <- if (needs_quotes(bar[[3]])) nested_groups(bar[[3]]) else list(bar[[3]])
    bars <- lapply(effects, function(effect) lapply(groups, function(group) call("(", call("|", effect, group))))
    return(Reduce(function(left, right) call("+", left, right), unlist(bars)))
  }
  if (as.character(part[[1]])[1] %in% c("~", "+", "-", "(")) part[-1] <- lapply(part[-1], split_bars)
  part
}

# Stop at a function that R would not find. Random-effects terms with a structure are read by lme4 2, not called.
refuse_unknown_functions <- function(formula) {
  for (name in setdiff(called_functions(formula), structure_calls)) {
    if (exists(name, globalenv(), mode = "function")) next
    home <- Filter(function(p) name %in% getNamespaceExports(p), unique(c("splines", "lme4", loadedNamespaces())))
    advice <- if (name == "Q") {
      "a name that needs quotes stands in backticks, as in `my column`"
    } else if (length(home)) paste0("write ", home[1], "::", name, "()") else {
      "write it with its package, as in splines::ns(x, 3), or make a column of it first"
    }
    refuse_formula("R finds no function '", name, "', which the formula calls: ", advice, ".")
  }
}

# The functions that a formula calls by name alone. A long formula is a deep tree: no recursion.
called_functions <- function(formula) {
  found <- character()
  level <- list(formula)
  while (length(level)) {
    level <- Filter(is.call, level)
    heads <- lapply(level, `[[`, 1)
    names <- vapply(heads, function(head) if (is.name(head)) as.character(head) else "", "")
    found <- c(found, names)
    level <- unlist(lapply(level[!names %in% c("::", ":::")], as.list), recursive = FALSE)
  }
  setdiff(found, c("", "::", ":::"))
}

needs_quotes <- function(part) any(all.vars(part) != make.names(all.vars(part)))

# Of g / k / h: h:(k:g), k:g and g.
nested_groups <- function(side) {
  if (!is.call(side) || !identical(side[[1]], quote(`/`))) return(list(side))
  outer <- nested_groups(side[[2]])
  c(list(call(":", side[[3]], outer[[1]])), outer)
}

# The effects of one side of a bar: 1 for an intercept, and 0 + a term for each term.
separate_effects <- function(side) {
  terms <- stats::terms(stats::as.formula(call("~", side)))
  variables <- as.list(attr(terms, "variables"))[-1]
  used <- attr(terms, "factors") > 0
  effects <- lapply(seq_along(attr(terms, "term.labels")), function(j) {
    call("+", 0, Reduce(function(left, right) call(":", left, right), variables[used[, j]]))
  })
  c(if (attr(terms, "intercept") == 1) list(1), effects)
}

# A vector becomes a column, for which `name` is a proposal: whoever evaluates the call again, with a formula of an
# environment of its own, as lmerTest 3.2 does, finds the data, and nothing that lies beside them. The data tell which
# columns were made so.
column_in <- function(env, given, name) {
  if (is.character(given)) return(given)
  while (name %in% names(env$data)) name <- paste0(".", name)
  env$data[[name]] <- given
  attr(env$data, "made") <- c(attr(env$data, "made"), name)
  name
}

# The documented steps of lme4 (help("modular")): the deviance function stays at
# hand, and one set of its values serves convergence checks and degrees of freedom.
# Where `theta` is given, nothing is optimized.
fit_linear <- function(call, env, verbose, satterthwaite, theta = NULL) {
  control <- linear_control(env)
  parts <- parse_model(call, env, control)
  call$formula <- parts$formula
  parts$formula <- NULL
  devfun <- do.call(lme4::mkLmerDevfun, c(parts, list(start = NULL, verbose = verbose, control = control)))
  optimum <- if (is.null(theta)) optimize_deviance(devfun, control, verbose) else known_optimum(devfun, control, theta)
  last <- deviance_argument(devfun, environment(devfun)$pp$theta)
  derived <- is.null(theta) && wants_derivatives(control, devfun, optimum$par, nrow(parts$fr))
  stencil <- if (derived) theta_stencil(devfun, optimum$par)
  if (!is.null(stencil)) {
    attr(optimum, "derivs") <- profiled_derivs(stencil)
    devfun(last)
  }
  convergence <- check_convergence(optimum, control, devfun, nrow(parts$fr))
  model <- lme4::mkMerMod(environment(devfun), optimum, parts$reTrms, fr = parts$fr, mc = call, lme4conv = convergence)
  if (satterthwaite) with_satterthwaite(model, devfun, stencil) else model
}

# The model again, by another formula or control, on exactly the rows that it used. Its variables are computed on all
# rows of the data first, as they were.
fit_again <- function(model, formula = stats::formula(model), control = NULL) {
  home <- environment(stats::formula(model))
  place <- list2env(as.list(home, all.names = TRUE), parent = parent.env(home))
  environment(formula) <- place
  call <- model@call
  call$formula <- formula
  omitted <- as.integer(attr(model@frame, "na.action"))
  if (length(omitted)) call$subset <- -omitted
  if (!is.null(control)) {
    place$control <- control
    call$control <- quote(control)
  }
  if (lme4::isLMM(model)) fit_linear(call, place, 0L, FALSE) else eval(call, place)
}

parse_model <- function(call, env, control) {
  call[[1]] <- quote(lme4::lFormula)
  call$control <- control
  parts <- eval(call, env)
  tidy_environment(env)
  if (ncol(parts$X) >= nrow(parts$fr)) {
    refuse_formula(
      "The fixed part has ", ncol(parts$X), " coefficients, and ", nrow(parts$fr), " rows are used: nothing is left to ",
      "estimate variances from. Take terms out of the formula; interactions multiply levels."
    )
  }
  parts
}

# lme4 leaves the functions of these names where it looked for arguments.
tidy_environment <- function(env) rm(list = intersect(c("weights", "offset"), names(env)), envir = env)

optimize_deviance <- function(devfun, control, verbose = 0L,
                              start = deviance_argument(devfun, environment(devfun)$pp$theta)) {
  if (length(control$optimizer) == 0) {
    return(list(par = start, fval = devfun(start), conv = 1000, message = "no optimization"))
  }
  lme4::optimizeLmer(
    devfun,
    optimizer = control$optimizer, restart_edge = control$restart_edge, boundary.tol = control$boundary.tol,
    control = control$optCtrl, verbose = verbose, start = start, calc.derivs = FALSE,
    use.last.params = control$use.last.params
  )
}

# The optimum that is at theta. Refits of the model go by the optimizer that is named here.
known_optimum <- function(devfun, control, theta) {
  par <- deviance_argument(devfun, theta)
  structure(list(par = par, fval = devfun(par), conv = 0L, message = ""), optimizer = control$optimizer, control = list())
}

# lme4 2 leaves the derivatives out of large problems and of singular fits unless they are asked for.
wants_derivatives <- function(control, devfun, par, n) {
  if (length(control$optimizer) == 0) return(FALSE)
  if (!is.null(control$calc.derivs)) return(control$calc.derivs)
  rho <- environment(devfun)
  limits <- control$checkConv
  from_bounds <- min(par - rho$lower, rho$upper - par)
  from_bounds >= lme4::getSingTol() && n < limits$check.conv.nobsmax && length(rho$lower) < limits$check.conv.nparmax
}

check_convergence <- function(optimum, control, devfun, n) {
  rho <- environment(devfun)
  arguments <- list(derivs = attr(optimum, "derivs"), coefs = optimum$par, ctrl = control$checkConv, lbound = rho$lower)
  newer <- list(ubound = rho$upper, nobs = n, ndim = length(rho$lower))
  known <- intersect(names(newer), names(formals(lme4::checkConv)))
  do.call(lme4::checkConv, c(arguments, newer[known]))
}
