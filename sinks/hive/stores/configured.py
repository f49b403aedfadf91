"""The store that the settings mean."""

from __future__ import annotations

from datetime import timedelta

from sinks.hive.settings import (
    AnyStoreSettings,
    HdfsStoreSettings,
    LocalStoreSettings,
    S3StoreSettings,
)
from sinks.hive.stores.port import Store


def open_store(settings: AnyStoreSettings) -> Store:
    """Makes a client; nothing is asked of the store yet."""
    match settings:
        case LocalStoreSettings():
            from sinks.hive.stores.local import LocalStore

            return LocalStore(settings.root)
        case HdfsStoreSettings():
            from sinks.hive.stores.webhdfs import HdfsStore

            return HdfsStore(
                settings.namenodes,
                settings.root,
                user=settings.user,
                delegation_token=settings.delegation_token,
                timeout_s=settings.timeout_seconds,
            )
        case S3StoreSettings():
            return _s3(settings)


def _s3(settings: S3StoreSettings) -> Store:
    from obstore.store import S3Store

    from sinks.hive.stores.objects import ObjectStore

    keys: dict[str, str] = {}
    if settings.access_key_id is not None and settings.secret_access_key is not None:
        keys = {
            "access_key_id": settings.access_key_id.get_secret_value(),
            "secret_access_key": settings.secret_access_key.get_secret_value(),
        }
    if settings.endpoint is not None:
        keys |= {"endpoint": settings.endpoint}
    is_plain = (settings.endpoint or "").startswith("http://")
    client = S3Store(
        settings.bucket,
        region=settings.region,
        conditional_put="etag",
        client_options={
            "timeout": timedelta(seconds=settings.timeout_seconds),
            "allow_http": is_plain,
        },
        # Our own publisher waits and tries again; a request of its own must end in time.
        retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=60)},
        **keys,  # type: ignore[arg-type]
    )
    return ObjectStore(client, settings.prefix)
