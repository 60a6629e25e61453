# What lme4 says in other words from version to version, in one shape for all of them.

# Limits under their long names: of each term the standard deviations and the correlations by the columns of its
# covariance matrix, sigma, the coefficients. lme4 2 lists all standard deviations first.
limits_by_name <- function(model, ...) {
  method <- utils::getS3method("confint", "merMod", envir = asNamespace("lme4"))
  short <- if ("signames" %in% names(formals(method))) list(signames = FALSE) else list(oldNames = FALSE)
  found <- do.call(stats::confint, c(list(model, ...), short))
  wanted <- c(random_names(model), if (has_dispersion(model)) "sigma", names(lme4::fixef(model)))
  found[match(make.unique(wanted), make.unique(rownames(found))), , drop = FALSE]
}

random_names <- function(model) {
  unlist(Map(function(effects, group) {
    place <- which(lower.tri(diag(length(effects)), diag = TRUE), arr.ind = TRUE)
    first <- effects[place[, "row"]]
    second <- effects[place[, "col"]]
    name <- ifelse(place[, "row"] == place[, "col"], paste0("sd_", first), paste0("cor_", first, ".", second))
    paste0(name, "|", group)
  }, model@cnms, names(model@cnms)), use.names = FALSE)
}

# Whether sigma is a parameter.
has_dispersion <- function(model) {
  lme4::isLMM(model) || stats::family(model)$family %in% c("gaussian", "Gamma", "inverse.gaussian")
}

# Whether sigma scales the random effects. Of a generalized model it does so up to lme4 1.1 alone.
is_scaled <- function(model) isTRUE(attr(lme4::VarCorr(model), "useSc"))

# The table of variances with the row of sigma, which lme4 2 leaves out of generalized models.
variances_of <- function(model, ...) {
  found <- as.data.frame(lme4::VarCorr(model), ...)
  if (!has_dispersion(model) || is_scaled(model)) return(found)
  rbind(found, data.frame(grp = "Residual", var1 = NA, var2 = NA, vcov = stats::sigma(model)^2, sdcor = stats::sigma(model)))
}

# Whether the working weights of a generalized model hold the dispersion, as from lme4 2.1 on.
weights_hold_dispersion <- function(model) isTRUE(model@devcomp$dims["dispProfile"] == 1)

# The covariance of the coefficients. Where there is no Hessian to take it from, vcov() of lme4 2.1 multiplies by the
# dispersion what holds it already.
covariance_of <- function(model) {
  as.matrix(if (weights_hold_dispersion(model)) stats::vcov(model, sigm = 1) else stats::vcov(model))
}

errors_of <- function(model) sqrt(diag(covariance_of(model)))

# The table of a generalized model's summary, with those errors.
coefficients_of <- function(model) {
  found <- summary(model)$coefficients
  if (!weights_hold_dispersion(model)) return(found)
  found[, 2] <- errors_of(model)
  found[, 3] <- found[, 1] / found[, 2]
  found[, 4] <- 2 * stats::pnorm(abs(found[, 3]), lower.tail = FALSE)
  found
}

wald_limits <- function(model) {
  found <- limits_by_name(model, method = "Wald")
  if (!weights_hold_dispersion(model)) return(found)
  fixed <- rownames(found) %in% names(lme4::fixef(model))
  found[fixed, ] <- lme4::fixef(model) + errors_of(model) %o% stats::qnorm(c(0.025, 0.975))
  found
}
