"""Who and what features are about."""

from feast import Entity, ValueType

from feature_repo.privacy.consent import PURPOSES

user = Entity(
    name="user",
    join_keys=["user_id"],
    value_type=ValueType.STRING,
    description="A shopper, by pseudonym: `portrait key RAW_ID` gives the pseudonym of an id of yours.",
    tags={"zh": "顾客（化名）"},
)
item = Entity(
    name="item", join_keys=["item_id"], value_type=ValueType.STRING, description="What is sold.", tags={"zh": "商品"}
)
category = Entity(
    name="category",
    join_keys=["category"],
    value_type=ValueType.STRING,
    description="Category of items, as the catalogue names it.",
    tags={"zh": "品类"},
)
purpose = Entity(
    name="purpose",
    join_keys=["purpose"],
    value_type=ValueType.STRING,
    description="Use of data: " + ", ".join(PURPOSES) + ".",
    tags={"zh": "数据用途"},
)
