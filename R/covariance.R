# How lme4 parametrizes the covariance of random effects. Up to 1.1 theta is the relative Cholesky factor of each
# term, sigma scales it, and the deviance is a function of theta. From 2.0 on a term may have a structure with fewer
# parameters, which the deviance function then takes, and sigma scales linear models alone.

# var(b) is this times Lambda Lambda'.
effect_variance <- function(model) if (isTRUE(attr(lme4::VarCorr(model), "useSc"))) stats::sigma(model)^2 else 1

# Whether the family has a dispersion, sigma^2, which is estimated.
has_sigma <- function(model) model@devcomp$dims[["useSc"]] == 1

# Whether the working weights of a generalized fit are divided by the dispersion, as those of lme4 2.1 are.
weights_hold_dispersion <- function(model) isTRUE(model@devcomp$dims["dispProfile"] == 1)

# The argument at which a deviance function has this theta.
deviance_argument <- function(devfun, theta) {
  to_par <- environment(devfun)$mkPar
  (if (is.null(to_par)) theta else to_par(theta)) + 0
}

# lme4 2 keeps structures in attributes, which conversions between classes lose.
with_structures <- function(converted, model) {
  for (name in c("upper", "reCovs")) attr(converted, name) <- attr(model, name)
  converted
}

as_lme4 <- function(model) {
  if (inherits(model, "lmerModLmerTest")) model <- with_structures(methods::as(model, "lmerMod"), model)
  attr(model, "satterthwaite") <- NULL
  model
}

# The structure of each random-effects term, NULL where its covariance matrix is free.
structures_of <- function(model) {
  lapply(seq_along(model@cnms), function(t) {
    structure <- attr(model, "reCovs")[[t]]
    if (!methods::is(structure, "Covariance.us")) structure
  })
}

# The names of all parameters, whatever order lme4 lists them in: of each term the standard deviations and the
# correlations, by the columns of its covariance matrix; sigma; the coefficients.
limit_names <- function(model) c(random_names(model), if (has_sigma(model)) "sigma", names(lme4::fixef(model)))

random_names <- function(model) {
  unlist(Map(function(effects, group, structure) {
    if (!is.null(structure)) return(structure_names(structure, effects, group))
    at <- which(lower.tri(diag(length(effects)), diag = TRUE), arr.ind = TRUE)
    first <- effects[at[, 2]]
    second <- effects[at[, 1]]
    paste0(ifelse(at[, 1] == at[, 2], paste0("sd_", first), paste0("cor_", second, ".", first)), "|", group)
  }, model@cnms, names(model@cnms), structures_of(model)), use.names = FALSE)
}

structure_names <- function(structure, effects, group) {
  names <- unlist(lme4::getVCNames(structure, effects, group, prf = c("sd", "cor"), old = FALSE), use.names = FALSE)
  names[!is.na(names)]
}

# A function of theta and the scale with the numbers that random_names() names.
random_parameters <- function(model) {
  structures <- structures_of(model)
  sizes <- lengths(model@cnms)
  free <- vapply(structures, is.null, NA)
  counts <- sizes * (sizes + 1) / 2
  if (!all(free)) counts[!free] <- vapply(structures[!free], lme4::getThetaLength, 1)
  term <- rep(seq_along(sizes), counts)
  function(theta, scale) {
    unlist(Map(function(theta, size, structure) {
      if (is.null(structure)) return(sd_and_correlations(theta, size, scale))
      lme4::getProfPar(lme4::setTheta(structure, theta), "sdcor", scale)
    }, split(theta, term), sizes, structures), use.names = FALSE)
  }
}

# Standard deviations on the diagonal and correlations below it, by column.
sd_and_correlations <- function(theta, size, scale) {
  factor <- matrix(0, size, size)
  below <- lower.tri(factor, diag = TRUE)
  factor[below] <- theta
  sd <- sqrt(rowSums(factor^2))
  values <- tcrossprod(factor / sd)
  diag(values) <- sd * scale
  values[below]
}
