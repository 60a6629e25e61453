# Data by name: those of R's packages and of simulated.csv, with columns made by rules that any language can follow.
# tests/reference/lib/data.py does.

named_data <- function(name) {
  switch(name,
    VerbAgg = with_every_fourth(packaged("VerbAgg", "lme4")),
    cbpp = with_proportions(packaged("cbpp", "lme4")),
    cbpp_holes = with_holes(with_proportions(packaged("cbpp", "lme4"))),
    simulated = with_sorted_text(utils::read.csv("tests/reference/simulated.csv")),
    natives = with_outcomes(named_data("simulated")),
    pigs = with_animals(packaged("pigs", "emmeans")),
    warpbreaks = with_pieces(packaged("warpbreaks", "datasets")),
    MOats = lengthened(packaged("MOats", "emmeans")),
    packaged(name, c("lme4", "lmerTest", "emmeans", "datasets", "nlme"))
  )
}

packaged <- function(name, packages) {
  place <- new.env()
  for (package in packages) {
    suppressWarnings(utils::data(list = name, package = package, envir = place))
    if (exists(name, place, inherits = FALSE)) return(as.data.frame(place[[name]]))
  }
}

# Levels in the order of code points, whatever the locale.
with_sorted_text <- function(data) {
  data$cond <- factor(data$cond, levels = sort(unique(data$cond), method = "radix"))
  data
}

# Weights, an offset, proportions and gaps, by the number of the row.
with_outcomes <- function(data) {
  i <- seq_len(nrow(data))
  data$part <- factor(ifelse(i %% 2 == 1, "k", "l"))
  data$weight <- 1 + (i %% 5) / 4
  data$shift <- ((7 * i) %% 11) / 44
  data$odd <- data$visits %% 2
  data$trials <- 3 + i %% 5
  data$hits <- data$visits %% (data$trials + 1)
  data$share <- data$hits / data$trials
  data$gappy <- ifelse(i %% 31 == 4, NA, data$level)
  data$hollow <- ifelse(i %% 37 == 2, NA, data$x)
  data
}

# All answers of every fourth person; the persons stand in one order under each question.
with_every_fourth <- function(data) {
  kept <- data[(seq_len(nrow(data)) - 1) %% 316 %% 4 == 0, ]
  row.names(kept) <- NULL
  droplevels(kept)
}

with_proportions <- function(data) {
  data$proportion <- data$incidence / data$size
  data$row <- factor(seq_len(nrow(data)))
  data
}

with_holes <- function(data) {
  i <- seq_len(nrow(data))
  data$incidence[i %% 13 == 0] <- NA
  data$period[i %% 17 == 5] <- NA
  data
}

# The first, second or third animal with its diet.
with_animals <- function(data) {
  data$animal <- factor(stats::ave(seq_len(nrow(data)), data$source, data$percent, FUN = seq_along))
  data
}

with_pieces <- function(data) {
  data$piece <- factor(seq_len(nrow(data)))
  data
}

# One row a plot, from one row a whole plot with a column for each amount of nitrogen.
lengthened <- function(data) {
  amounts <- as.numeric(colnames(data$yield))
  data.frame(
    Variety = rep(data$Variety, length(amounts)), Block = rep(data$Block, length(amounts)),
    nitro = rep(amounts, each = nrow(data)), yield = c(data$yield)
  )
}
