"""Words that logs use for what the schema calls otherwise; without case and separators."""

from __future__ import annotations

from feature_repo.events.log import EVENT_ID, EVENT_TIMESTAMP

USER_ID = "user_id"

# Target -> names of columns, better ones first.
NAMES: dict[str, list[str]] = {
    target: names.split()
    for target, names in {
        USER_ID: "userid user uid customerid customer custid memberid member visitorid visitor buyerid shopperid "
        "householdid accountid clientid personid cardid cardno card who email",
        EVENT_TIMESTAMP: "eventtimestamp timestamp eventtime datetime ts time createdat occurredat orderdate orderedat "
        "purchasedat date day invoicedate transactiontime transactiondate at",
        EVENT_ID: "eventid messageid uuid lineid orderlineid",
        "item_id": "itemid item productid product sku articleid article stockcode goodsid asin",
        "order_id": "orderid order orderno ordernumber basketid basket invoiceno invoice transactionid "
        "receiptid receiptno receipt",
        "category": "category categorycode categoryid cat cid productcategory",
        "department": "department dept",
        "brand": "brand brandname make",
        "store_id": "storeid store shopid branch",
        "quantity": "quantity qty units count pieces",
        "amount": "amount sales salesvalue revenue total linetotal paid value price unitprice",
        "price": "price unitprice",
        "coupon_discount": "coupondiscount coupondisc",
        "session_id": "sessionid session usersession visitid",
        "device": "device devicetype platform",
        "region": "region country city",
        "query": "query searchterm keyword keywords q",
        "rating": "rating stars",
        "campaign_id": "campaignid campaign",
    }.items()
}
TYPE_NAMES = [
    "eventtype",
    "event",
    "eventname",
    "action",
    "behaviortype",
    "behavior",
    "behaviour",
    "activity",
    "type",
    "kind",
    "interaction",
]
EVENT_WORDS: dict[str, list[str]] = {
    kind: words.split()
    for kind, words in {
        "view": "view pv pageview detail productview viewitem impression browse",
        "click": "click clicked",
        "cart": "cart addtocart addcart basket",
        "wishlist": "wishlist fav favorite favourite like addtowishlist collect",
        "purchase": "purchase buy bought order ordered transaction sale paid checkout",
        "payment": "payment pay",
        "return": "return returned refund",
        "search": "search query",
        "login": "login signin",
        "review": "review rate",
    }.items()
}
NULL_WORDS = frozenset(["n/a", "na", "#n/a", "null", "none", "nan", "nil", "-", "--", "?", "\\n"])
