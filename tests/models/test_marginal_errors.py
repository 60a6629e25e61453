"""What the verbs of marginal means refuse, at the boundary: what was given, what is allowed."""

from __future__ import annotations

import numpy as np
import pytest
from samples import dataset, fitted

from pymer4 import Lmer
from pymer4.errors import NotFittedError, OptionError, RError

pytestmark = pytest.mark.r


def doses() -> Lmer:
    return fitted("yield ~ factor(nitro) + (1 | Block)", dataset("Oats"))


WRONG = [
    (lambda m: m.post_hoc("Varety"), "'Varety', which.*mean 'Variety'.*factors: Variety; covariates: nitro"),
    (lambda m: m.post_hoc("Block"), "'Block', which is not in the fixed part"),
    (lambda m: m.post_hoc("Variety", "Nitro"), "grouping_vars names 'Nitro'.*'nitro'"),
    (lambda m: m.post_hoc("Variety", "nitro"), r"no levels.*emmeans\("),
    (lambda m: m.post_hoc(["Variety", "nitro"]), "'nitro' beside 1 more"),
    (lambda m: m.post_hoc("Variety", "Variety"), "in marginal_vars and in grouping_vars"),
    (lambda m: m.post_hoc([]), "names no variable"),
    (lambda m: m.post_hoc(3), "marginal_vars=3"),
    (lambda m: m.post_hoc("Variety", p_adjust="turkey"), "p_adjust='turkey'.*'tukey'"),
    (lambda m: m.emmeans("Variety", adjust="Holm"), "adjust='Holm'.*'holm'"),
    (lambda m: m.emmeans("Variety", contrasts="pairs"), "contrasts='pairs'.*'pairwise'"),
    (lambda m: m.emmeans("Variety", contrasts={}), "names no contrast"),
    (lambda m: m.emmeans("Variety", contrasts={"x": [1, -1]}), "2 weights for 3 cells.*Golden Rain, Marv"),
    (lambda m: m.emmeans("Variety", contrasts={"x": {"Victry": 1}}), "'Victry', which is no cell.*'Victory'"),
    (lambda m: m.emmeans("Variety", contrasts={"x": ["a", "b", "c"]}), "one finite number a cell"),
    (lambda m: m.emmeans("Variety", contrasts={"x": 1}), "one finite number a cell"),
    (lambda m: m.emmeans("Variety", type="mean"), "type='mean'.*'response', 'link'"),
    (lambda m: m.emmeans("Variety", ddf="KR"), "ddf='KR'"),
    (lambda m: m.emmeans("Variety", by="Variety"), "in specs and in by"),
    (lambda m: m.emmeans([]), "specs names no variable"),
    (lambda m: m.emmeans("Variety", at={"nitrogen": 1}), "at names 'nitrogen'.*'nitro'"),
    (lambda m: m.emmeans("Variety", at={"Variety": "victory"}), "'victory', not among the levels.*'Victory'"),
    (lambda m: m.emmeans("Variety", at={"nitro": "much"}), "has to be numbers"),
    (lambda m: m.emmeans("Variety", at={"nitro": [np.nan]}), "has to be numbers"),
    (lambda m: m.emmeans("Variety", at={"nitro": []}), "is empty"),
    (lambda m: m.emmeans("Variety", at=[1]), "is not a dict"),
    (lambda m: m.emmeans([["Variety"]]), r"specs names \['Variety'\], which is not"),
    (lambda m: m.emmeans("Variety", at={"nitro": {"a": 1}}), r"at\['nitro'\] is {'a': 1}. Give one value"),
    (lambda m: m.emmeans("Variety", at={"Variety": {"a": 1}}), r"at\['Variety'\] is"),
    (lambda m: m.emmeans("Variety", at={"nitro": [10**400]}), r"at\['nitro'\]=.* has to be numbers"),
    (lambda m: m.emmeans("Variety", at={"nitro": list(range(5000))}), r"15,000 rows \(Variety 3 × nitro 5000\)"),
    (lambda m: m.emtrends("Variety"), "is a factor, which has no slope"),
    (lambda m: m.emtrends("Days"), "var names 'Days'"),
    (lambda m: m.emtrends(["nitro"]), "not the name of one covariate"),
    (lambda m: m.joint_tests("Block"), "by names 'Block'"),
    (lambda m: m.joint_tests(["Variety", "nitro"]), "no variable to test"),
    (lambda m: doses().emmeans("nitro", at={"nitro": 1}), "1, not among the levels: 0, 0.2, 0.4, 0.6"),
    ]  # fmt: skip


@pytest.mark.parametrize(("ask", "text"), WRONG)
def test_errors_say_what_was_given_and_what_is_allowed(ask, text, oats_model):
    with pytest.raises(OptionError, match=text):
        ask(oats_model)


def test_a_generalized_model_has_no_df_to_choose(herds_model):
    with pytest.raises(OptionError, match="leave ddf out"):
        herds_model.emmeans("period", ddf="Satterthwaite")


@pytest.mark.parametrize("verb", ["post_hoc", "emmeans", "emtrends", "joint_tests"])
def test_nothing_before_fit(verb):
    with pytest.raises(NotFittedError, match=verb):
        getattr(Lmer("yield ~ Variety * nitro + (1 | Block)", dataset("Oats")), verb)("nitro")


def test_a_model_of_nothing_has_nothing_to_ask():
    model = fitted("yield ~ 1 + (1 | Block)", dataset("Oats"))
    with pytest.raises(OptionError, match=r"no variable to test.*factors: none; covariates: none"):
        model.joint_tests()
    with pytest.raises(OptionError, match="factors: none"):
        model.emmeans("Variety")


def test_what_r_refuses_comes_in_its_words():
    data = dataset("Oats").assign(**{f"f{k}": lambda d, k=k: (d.index % (2 + k)).astype(str) for k in range(6)})
    model = fitted(f"yield ~ {' + '.join(f'f{k}' for k in range(6))} + factor(nitro) + (1 | Block)", data)
    with pytest.raises(RError, match="reference grid"):
        model.emmeans("f0")
