"""Does the challenger choose better whom to send a coupon? Half of the shoppers each."""

from datetime import UTC, datetime

from serving.experiments.experiment import Experiment, Variant

REDEMPTION_MODEL = Experiment(
    name="redemption_model",
    question="Does the challenger choose better whom to send a coupon?",
    zh="挑战者模型是否更会挑选发券顾客？",
    task="redemption",
    variants=(
        Variant("champion", meaning="scored by the model that answers everybody", model="champion"),
        Variant("challenger", meaning="scored by the version trained last", model="challenger"),
    ),
    start=datetime(2026, 12, 1, tzinfo=UTC),
    end=datetime(2027, 2, 1, tzinfo=UTC),
)
