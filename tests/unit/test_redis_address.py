"""One URL of Redis, for redis-py and Celery alike, and no secret in what is said of it."""

import ssl

import pytest
from celery import Celery
from redis.sentinel import SentinelConnectionPool

from restore_worker import settings
from restore_worker.errors import RestoreError
from restore_worker.redis_address import RedisAddress, parse
from restore_worker.redis_client import open_client

SECRET = "s3cret"
CHECKED = (("ssl_cert_reqs", "required"), ("ssl_check_hostname", True))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://r", RedisAddress((("r", 6379),))),
        ("redis://", RedisAddress((("localhost", 6379),))),
        ("redis://r/0?db=3", RedisAddress((("r", 6379),), database=3)),
        ("redis://:pw@r:6380/1", RedisAddress((("r", 6380),), database=1, password="pw")),
        ("redis://ada:p%40%2Fw@[::1]/", RedisAddress((("::1", 6379),), user="ada", password="p@/w")),
        # What need not be escaped, as the last @ ends it.
        ("redis://ada:p@:/#w@r", RedisAddress((("r", 6379),), user="ada", password="p@:/#w")),
        ("rediss://r", RedisAddress((("r", 6379),), tls=CHECKED)),
        (
            "rediss://r?ssl_ca_certs=/etc/ca%20.pem&ssl_cert_reqs=CERT_NONE",
            RedisAddress(
                (("r", 6379),),
                tls=(
                    ("ssl_ca_certs", "/etc/ca .pem"),
                    ("ssl_cert_reqs", "none"),
                    ("ssl_check_hostname", False),
                ),
            ),
        ),
        ("unix:///run/r%40.sock?db=2", RedisAddress(socket="/run/r@.sock", database=2)),
        ("unix://:pw@/r.sock", RedisAddress(socket="/r.sock", password="pw")),
        (
            "redis+sentinel://ada:pw@a:1,[::1]:2,c/the%20master/4?sentinel_password=sp&sentinel_username=su",
            RedisAddress(
                (("a", 1), ("::1", 2), ("c", 26379)),
                master="the master",
                database=4,
                user="ada",
                password="pw",
                sentinel_user="su",
                sentinel_password="sp",
            ),
        ),
        ("rediss+sentinel://a/m", RedisAddress((("a", 26379),), master="m", tls=CHECKED)),
    ],
)
def test_a_url_is_read(url, address):
    assert parse(url) == address
    assert settings.load({"RESTORE_REDIS_URL": url}).redis_address() == address


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"https://me:{SECRET}@r", "must begin with one of redis://, rediss://, unix://"),
        (SECRET, "must begin with"),
        (f"redis://{SECRET}@r", "has a user but no password"),
        ("redis://:@r", "empty password"),
        (f"redis://:a?{SECRET}@r", r"an option .* none of db, .* \? is written %3F"),
        (f"redis://r?password={SECRET}", "an option .* none of db"),
        (f"redis://:pw@{SECRET}:port", r"a host that is not HOST, HOST:PORT or \[IPV6\]:PORT"),
        ("redis://r:0", "a host that is not"),
        ("redis://r:65536", "a host that is not"),
        (f"redis://r/{SECRET}", "a database that is not a number"),
        ("redis://r/-1", "a database that is not a number"),
        ("redis://a,b/0", r"several hosts, which are Sentinels if it begins with redis\+sentinel://"),
        ("redis://r?ssl_ca_certs=/ca", "options for TLS, which goes with rediss://"),
        (f"redis://r?sentinel_password={SECRET}", r"options for Sentinels, .* redis\+sentinel://"),
        ("rediss://r?ssl_cert_reqs=some", "ssl_cert_reqs is one of required, optional, none"),
        ("rediss://r?ssl_check_hostname=1", "ssl_check_hostname is true or false"),
        ("redis+sentinel://a:1,b:2", "names no master"),
        ("redis+sentinel://a:1,b:2/", "names no master"),
        ("redis+sentinel://a:1/m/x", "a database that is not a number"),
        (f"unix://:{SECRET}@host/r.sock", "names no socket"),
        ("unix://", "names no socket"),
    ],
)
def test_a_wrong_url_is_refused_and_not_shown(url, reason):
    with pytest.raises(RestoreError, match=f"^environment variable RESTORE_REDIS_URL: .*{reason}") as caught:
        settings.load({"RESTORE_REDIS_URL": url})
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


EVERY = [
    f"redis://ada:{SECRET}@r/1",
    f"rediss://ada:{SECRET}@r/1?ssl_keyfile=/key&ssl_password={SECRET}",
    f"unix://ada:{SECRET}@/r.sock",
    f"redis+sentinel://ada:{SECRET}@a:1,b:2/m/3?sentinel_password={SECRET}",
    f"rediss+sentinel://ada:{SECRET}@a:1,b:2/m/3?sentinel_password={SECRET}&ssl_password={SECRET}",
]


@pytest.mark.parametrize("url", EVERY)
def test_no_secret_is_in_what_is_shown_of_it(url):
    address = parse(url)
    assert SECRET not in f"{address} {address!r}"
    app = celery_of(address)
    # What `celery report`, `celery inspect conf` and Flower show.
    assert SECRET in str(app.conf.table(censored=False))
    assert SECRET not in str(app.conf.table(censored=True))
    assert SECRET not in app.connection().as_uri() + app.backend.as_uri()


@pytest.mark.parametrize("url", EVERY)
def test_celery_and_redis_py_go_the_same_way(url):
    address = parse(url)
    app = celery_of(address)
    client = open_client(address, retries=0).connection_pool.connection_kwargs
    backend = app.backend.connparams
    with app.connection() as broker:
        assert broker.ssl == (dict(address.tls) if address.tls else False)
        if not address.socket:
            assert (broker.userid, broker.password) == ("ada", SECRET)
            assert broker.virtual_host == str(client["db"])
    for name in ("username", "password", "path", "db", *dict(address.tls or ())):
        # Celery has its own name for that.
        wanted = ssl.CERT_REQUIRED if name == "ssl_cert_reqs" else client.get(name)
        assert backend.get(name) == wanted
    if address.nodes and not address.master:
        assert (client["host"], client["port"]) == (backend["host"], backend["port"])


def test_sentinels_are_asked_in_turn_with_their_own_login():
    address = parse("rediss+sentinel://:pw@a:1,b:2/m/3?sentinel_password=sp&ssl_ca_certs=/ca")
    pool = open_client(address, retries=0).connection_pool
    assert isinstance(pool, SentinelConnectionPool)
    asked = [each.connection_pool.connection_kwargs for each in pool.sentinel_manager.sentinels]
    assert [(each["host"], each["port"], each["password"], each["ssl_ca_certs"]) for each in asked] == [
        ("a", 1, "sp", "/ca"),
        ("b", 2, "sp", "/ca"),
    ]
    assert pool.service_name == "m"
    assert celery_of(address).conf.broker_transport_options["master_name"] == "m"


def celery_of(address):
    app = Celery("test", set_as_current=False)
    options = address.transport_options()
    app.conf.update(
        **address.celery_settings(), broker_transport_options=options, result_backend_transport_options=options
    )
    return app
