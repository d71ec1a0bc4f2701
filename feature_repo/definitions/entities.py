"""Who and what features are about."""

from feast import Entity, ValueType

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
