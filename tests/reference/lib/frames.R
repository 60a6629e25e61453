# The data of a case: a data set of lme4, to which columns are added and from which values are taken by
# arithmetic on the row number, so that any language can make the same frame. tests/reference/test_reference.py does.

read_cases <- function(path) {
  utils::read.csv(path, colClasses = "character", na.strings = character())
}

pieces <- function(text) strsplit(text, ";", fixed = TRUE)[[1]]

case_data <- function(case) drop_values(full_data(case), pieces(case$missing))

full_data <- function(case) {
  data <- lme4_data(case$data)
  for (name in pieces(case$added)) data[[name]] <- added_column(name, data)
  data
}

lme4_data <- function(name) {
  place <- new.env()
  utils::data(list = name, package = "lme4", envir = place)
  data <- place[[name]]
  if (nrow(data) <= 5000) return(data)
  sampled <- data[1 + (0:4999) * (nrow(data) %/% 5000), ]
  row.names(sampled) <- NULL
  sampled
}

added_column <- function(name, data) {
  i <- seq_len(nrow(data))
  switch(name,
    weight = 1 + (i %% 5) / 4,
    shift = ((7 * i) %% 11) / 4,
    wave = ((37 * i) %% 101) / 64,
    tide = ((53 * i) %% 89) / 32,
    `nights awake` = data$Days + 1,
    huge = data$Days * 1e6,
    tiny = data$Reaction * 1e-6,
    steep = 30 * data$Days + as.integer(data$Subject) %% 5 + ((13 * i) %% 17) / 4
  )
}

# A rule such as Days:17:5 takes the values of Days in the rows whose number leaves 5 when divided by 17.
drop_values <- function(data, rules) {
  for (rule in strsplit(rules, ":", fixed = TRUE)) {
    data[seq_len(nrow(data)) %% as.integer(rule[2]) == as.integer(rule[3]), rule[1]] <- NA
  }
  data
}

# Eight rows to predict; the named numbers lie between or beyond those of the fit.
new_data <- function(case) {
  data <- full_data(case)
  rows <- data[1 + (0:7) * (nrow(data) %/% 8), ]
  for (name in pieces(case$moved)) rows[[name]] <- rows[[name]] + 2.5
  rows
}

# The same with a group that the fit has not seen in the first four rows.
unseen_data <- function(case) {
  rows <- new_data(case)
  label <- as.character(rows[[case$unseen]])
  label[1:4] <- "unseen"
  rows[[case$unseen]] <- factor(label)
  rows
}
