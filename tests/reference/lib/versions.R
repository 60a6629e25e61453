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
