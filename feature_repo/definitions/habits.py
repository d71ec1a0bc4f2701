"""How shoppers shop, written back weekly as ordinary facts with history: what no window over one shopper can say.

A favourite is the largest of many counts, and a rank needs everybody: kept per shopper and event, either would cost
Redis a multiple of all windows. They change slowly, so `portrait jobs habits` computes them from the whole log.
"""

from datetime import timedelta

from feast import FeatureView, Field
from feast.types import Float64, Int64, PrimitiveFeastType, String

from feature_repo.definitions.entities import user
from feature_repo.definitions.sources import habit_rows


def _fields(dtype: PrimitiveFeastType, **labels: tuple[str, str]) -> list[Field]:
    return [
        Field(name=name, dtype=dtype, description=english, tags={"zh": chinese})
        for name, (english, chinese) in labels.items()
    ]


user_habits = FeatureView(
    name="user_habits",
    entities=[user],
    source=habit_rows,
    ttl=timedelta(days=35),  # who has stopped coming is not written anew, and habits end
    schema=[
        *_fields(
            String,
            favourite_category=("Category of most order lines in 182 days.", "近182天最常购买的品类"),
            second_category=("Category of the second most order lines.", "第二常购品类"),
            third_category=("Category of the third most order lines.", "第三常购品类"),
            favourite_brand=("Brand of most order lines in 182 days.", "近182天最常购买的品牌"),
            favourite_maker=("Manufacturer of most order lines in 182 days.", "近182天最常购买的厂商"),
            daypart=("Part of the day of most visits: morning, afternoon, evening, night.", "最常到店的时段"),
        ),
        *_fields(Int64, weekday=("Weekday of most visits, 1 is Monday.", "最常到店的星期（1为周一）")),
        *_fields(
            Float64,
            category_share=("Share of order lines in the favourite category.", "最常购品类占比"),
            brand_share=("Share of order lines of the favourite brand.", "最常购品牌占比"),
            maker_share=("Share of order lines of the favourite manufacturer.", "最常购厂商占比"),
            weekday_share=("Share of visits on the weekday of most.", "该星期到店占比"),
            daypart_share=("Share of visits in the part of the day of most.", "该时段到店占比"),
            cycle_days=("Median days from one day of visits to the next.", "到店间隔天数（中位数）"),
            cycle_spread=("Middle half of these gaps, over their median.", "到店间隔的离散程度"),
            price_rank=("Share of shoppers who choose cheaper items of a category.", "选品价位在顾客中的分位"),
            spend_rank=("Share of shoppers who spend less in 84 days.", "近84天消费金额分位"),
            visit_rank=("Share of shoppers who come less often in 84 days.", "近84天到店频次分位"),
            basket_rank=("Share of shoppers with fewer lines a visit in 84 days.", "近84天每次到店明细行数分位"),
        ),
    ],
    description="Favourites, rhythm and standing among all shoppers, as `portrait jobs habits` last wrote them.",
    tags={"zh": "顾客的偏好、购物节奏及其在全体顾客中的位置", "dimension": "preference"},
    owner="growth",
)
