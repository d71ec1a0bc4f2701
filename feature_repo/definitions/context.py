"""What day it is in the shop: computed on demand, from nothing but the instant features are read at.

Which holidays and whose midnight is set by ``PORTRAIT_COUNTRY`` and ``PORTRAIT_ZONE``. They are part of what these
features mean: a model that was trained with others is not served (:mod:`feature_repo.engine.contract`).
"""

import pandas as pd
from feast import Field
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Int64

from feature_repo.definitions.browsing import user_views_live

# Feature -> what it is, see ``definitions.derived``.
CALENDAR = {
    "weekday": "Day of the week, 1 is Monday. 星期几（1为周一）",
    "hour": "Hour of the day, 0 to 23. 当日几点",
    "is_weekend": "1 on Saturday and Sunday, else 0. 是否周末",
    "days_to_month_end": "Days to the last day of the month, 0 on it. 距月末天数",
    "days_since_month_end": "Days since the last day of a month, 0 on it. 距上次月末天数",
    "days_to_15th": "Days to the next 15th, 0 on it. 距15日天数",
    "days_since_15th": "Days since the last 15th, 0 on it. 距上次15日天数",
    "is_holiday": "1 on a public holiday, else 0. 是否公众假日",
    "days_to_holiday": "Days to the next public holiday, 0 on one. 距下个公众假日天数",
    "days_since_holiday": "Days since the last public holiday, 0 on one. 距上个公众假日天数",
}


@on_demand_feature_view(
    sources=[user_views_live[["read_at"]]],
    schema=[Field(name=name, dtype=Int64) for name in CALENDAR],
    mode="pandas",
    description="Weekday, hour, pay-days and public holidays, by the shop's own clock.",
    tags={"zh": "门店当地的日历情境", "dimension": "context", **CALENDAR},
    owner="growth",
)
def shop_calendar(inputs: pd.DataFrame) -> pd.DataFrame:
    """Calendar of the instants the features are read at."""
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    from feature_repo.core.settings import shop_place  # noqa: PLC0415
    from feature_repo.events.shop_calendar import COLUMNS, calendar_of  # noqa: PLC0415

    at = pd.to_datetime(inputs["user_views_live__read_at"], utc=True).to_numpy("datetime64[us]")
    country, zone = shop_place()
    known = ~np.isnat(at)
    found = np.full((len(at), len(COLUMNS)), np.nan)
    found[known] = calendar_of(at[known].astype("int64"), country=country, zone=zone)
    return pd.DataFrame(found.astype("int64") if np.isfinite(found).all() else found, inputs.index, COLUMNS)
