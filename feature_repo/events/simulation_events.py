"""Events of the simulated visits: one query per event type, over ``visit`` and ``item`` of `simulation_visits`.

A visit is a funnel from its start to its end: entry, pages, cart, and the purchase at its very end. Who comes back for
a cart sees the same items again and buys them without a second cart.
"""

from __future__ import annotations

from feature_repo.core.clock import DAY, HOUR, SECOND
from feature_repo.events import simulation_model as model
from feature_repo.events.simulation_plan import Plan

LATE_US = HOUR  # an event that arrives this much after it happened, or more, is late
_LATEST_US = 48 * HOUR

# Bits of the column ``flaw``, which tells `simulation_flaws` what to add.
FLAW = "flaw"
LATE, DUPLICATE, MALFORMED = 1, 2, 4


def event_query(event_type: str, plan: Plan, *, since_us: int, until_us: int) -> str:
    """SQL of the good events of a type with ``since_us <= event_timestamp < until_us`` that have arrived by then.

    Columns of the type that are known, and ``flaw`` (int: bits ``LATE``, ``DUPLICATE``, ``MALFORMED``). Arrival is a
    moment after the event, for late ones an hour to two days after it, and never after ``until_us``: an event younger
    than an hour is not late yet.
    """
    chance = f"(hash(hash({plan.seed}, event_id, '{{}}')) >> 11) / 9007199254740992.0"
    shares = {
        "is_late": f"ts + {LATE_US} <= {until_us - 1} AND {chance.format('late')} < {plan.late}",
        "is_double": f"{chance.format('double')} < {plan.duplicates}",
        "is_broken": f"{chance.format('broken')} < {plan.malformed}",
        "delay": chance.format("delay"),
    }
    return f"""
        SELECT * EXCLUDE (ts, last, is_late, is_double, is_broken, delay), make_timestamptz(ts) AS event_timestamp,
            {_ARRIVAL} AS ingested_at,
            is_late::INT * {LATE} + is_double::INT * {DUPLICATE} + is_broken::INT * {MALFORMED} AS {FLAW}
        FROM (
            SELECT *, {until_us - 1} AS last, {", ".join(f"{sql} AS {name}" for name, sql in shares.items())}
            FROM (SELECT block || event_code AS event_id, * EXCLUDE (block, event_code) FROM ({QUERIES[event_type]}))
            WHERE ts >= {since_us} AND ts < {until_us}
        )
    """


_ARRIVAL = f"""make_timestamptz(CASE
    WHEN is_late THEN ts + {LATE_US} + whole(delay * (least({_LATEST_US}, last - ts) - {LATE_US}))
    ELSE least(last, ts + 20000 + whole(delay * 2 * {SECOND})) END)"""

# The first part of an event's id is shared by a thousand shoppers: with it the log finds known ids in few row groups.
_BLOCK = "block"
_WHO = f"user_id, {_BLOCK}"
_WHERE = f"{_WHO}, session_id, device, region"

# A page's place in its visit: a robot's are equally far apart.
_PAGE = "start + whole(length * (j + CASE WHEN bot THEN 0 ELSE 0.8 * unit('page', n, k, v, j) END) / (pages + 1))"
_STEP = "length // (pages + 1)"
_ITEM = f"category * {model.ITEMS_PER_CATEGORY} + whole({model.ITEMS_PER_CATEGORY} * unit('item', n, k, j) ** 2)"
_PAGES = f"(SELECT *, {_PAGE} AS ts, {_ITEM} AS item FROM (SELECT *, unnest(range(pages)) AS j FROM visit))"
# A cart holds the items seen last.
_LINES = f"""(
    SELECT *, {_ITEM} AS item, 1 + (unit('units', n, k, j) < 0.2)::BIGINT AS quantity,
        unit('coupon', n, k, j) < 0.1 AS couponed
    FROM (SELECT *, pages - 1 - l AS j FROM (SELECT *, unnest(range(lines)) AS l FROM visit WHERE fills OR buys))
)"""
_SOLD = f"""(
    SELECT v.* EXCLUDE (category), item.* EXCLUDE (item), v.start + v.length AS ts, quantity * cents AS list_cents,
        CASE WHEN couponed THEN quantity * cents // 10 ELSE 0 END AS coupon_cents, code('order', n, k) AS order_id
    FROM {_LINES} AS v JOIN item USING (item) WHERE buys
)"""
_SEARCHED = f"unit('entry', n, k, v) < {model.SEARCHES} AND NOT bot"
_CATEGORY = f"{list(model.CATEGORIES)}[category + 1]"
_TEXT = """list_transform(range(2 + whole(unit('length', n, k, j) * 4)), lambda s: CASE
    WHEN unit('words', n, k, j * 8 + s) < (stars - 0.5) / 5 THEN
        ['Well made.', 'Arrived quickly.', 'My children love it.', 'Fits well.', 'I would buy it again.', '质量很好。']
    ELSE
        ['Too small.', 'Came late.', 'Broke after a week.', 'Not as pictured.', 'Too dear for that.', '包装破损。']
    END[1 + whole(unit('word', n, k, j * 8 + s) * 6)])"""

QUERIES: dict[str, str] = {
    "login": f"""
        SELECT {_WHERE}, code('login', n, k, v) AS event_code, start AS ts, 'password' AS method,
            unit('refused', n, k, v) >= 0.03 AS succeeded
        FROM visit WHERE unit('login', n, k, v) < {model.LOGS_IN} AND NOT bot
    """,
    "search": f"""
        SELECT {_WHERE}, code('search', n, k, v) AS event_code, start AS ts, {_CATEGORY} AS query,
            {_CATEGORY} AS category, 10 + whole(190 * unit('results', n, k, v)) AS results
        FROM visit WHERE {_SEARCHED}
    """,
    "view": f"""
        SELECT {_WHERE}, code('view', n, k, v, j) AS event_code, ts + {_STEP} // 20 AS ts, item_id, item.category,
            brand, cents / 100 AS price,
            CASE WHEN bot THEN 0.2 ELSE round({_STEP} / 1e6 * (0.1 + 0.6 * unit('dwell', n, k, v, j)), 1) END AS dwell_s
        FROM {_PAGES} AS p JOIN item USING (item)
        UNION ALL
        SELECT {_WHERE}, code('entry', n, k, v), start, NULL, {_CATEGORY}, NULL, NULL, NULL
        FROM visit WHERE NOT ({_SEARCHED})
    """,
    "click": f"""
        SELECT {_WHERE}, code('click', n, k, v, j) AS event_code, ts, item_id, item.category,
            CASE WHEN {_SEARCHED} THEN 'search' ELSE 'category' END AS source,
            CASE WHEN {_SEARCHED} THEN item.category END AS query,
            1 + whole(20 * unit('place', n, k, v, j) ** 2) AS position
        FROM {_PAGES} AS p JOIN item USING (item) WHERE NOT bot
    """,
    "cart": f"""
        SELECT {_WHERE}, code('cart', n, k, j) AS event_code,
            start + whole(length * (pages + 0.9 * (l + 1) / (lines + 1)) / (pages + 1)) AS ts,
            item_id, item.category, 'add' AS action, quantity, cents / 100 AS price
        FROM {_LINES} AS p JOIN item USING (item) WHERE fills
    """,
    "wishlist": f"""
        SELECT {_WHO}, code('wish', n, k, v, j) AS event_code, ts + {_STEP} // 10 AS ts, item_id, item.category,
            'add' AS action
        FROM {_PAGES} AS p JOIN item USING (item) WHERE NOT bot AND unit('wish', n, k, v, j) < {model.WISHES}
    """,
    "purchase": f"""
        SELECT {_WHO}, code('purchase', n, k, j) AS event_code, ts, order_id, item_id, category, department,
            manufacturer_id, brand, 'web' AS store_id, quantity, (list_cents - coupon_cents) / 100 AS amount,
            list_cents / 100 AS list_amount, CASE WHEN couponed THEN coupon_cents / 100 END AS coupon_discount
        FROM {_SOLD}
    """,
    "payment": f"""
        SELECT any_value(user_id) AS user_id, any_value({_BLOCK}) AS {_BLOCK}, code('payment', n, k) AS event_code,
            any_value(ts) AS ts, any_value(order_id) AS order_id, 'web' AS store_id,
            ['card', 'card', 'wallet'][1 + whole(unit('method', n, k) * 3)] AS method,
            CAST(sum(list_cents - coupon_cents) AS BIGINT) / 100 AS amount, count(*) AS lines,
            CAST(sum(quantity) AS BIGINT) AS items, count(DISTINCT category) AS categories,
            CAST(sum(coupon_cents) FILTER (couponed) AS BIGINT) / 100 AS coupon_discount,
            count(*) FILTER (couponed) AS coupon_lines
        FROM {_SOLD} GROUP BY n, k
    """,
    "return": f"""
        SELECT {_WHO}, code('return', n, k, j) AS event_code,
            ts + {3 * DAY} + whole(unit('kept', n, k, j) * {17 * DAY}) AS ts, order_id, item_id, category,
            quantity, (list_cents - coupon_cents) / 100 AS amount,
            ['size', 'quality', 'late', 'changed my mind'][1 + whole(unit('reason', n, k, j) * 4)] AS reason
        FROM {_SOLD} WHERE unit('back', n, k, j) < {model.SENT_BACK}
    """,
    "review": f"""
        SELECT * EXCLUDE (n, k, j, stars), length(text) AS length FROM (
            SELECT *, array_to_string({_TEXT}, ' ') AS text FROM (
                SELECT {_WHO}, code('review', n, k, j) AS event_code, n, k, j, order_id, item_id, category,
                    ts + {1 * DAY} + whole(unit('thinks', n, k, j) * {13 * DAY}) AS ts,
                    5.0 - whole(4.99 * unit('stars', n, k, j) ** 2) AS stars, stars AS rating
                FROM {_SOLD} WHERE unit('writes', n, k, j) < {model.REVIEWED}
            )
        )
    """,
}
