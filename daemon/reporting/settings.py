"""The settings file's section on reporting: brokers, credentials by file, and which dialects are spoken."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lineside.daemon.sparkplug.options import SparkplugSettings
from lineside.daemon.yamlfile import FilePath, Strict, located


class TlsSettings(Strict):
    """Certificates of a TLS connection, by file."""

    ca_file: FilePath | None = Field(default=None, description="who is trusted; null: the system's list")
    cert_file: FilePath | None = Field(default=None, description="this device's certificate")
    key_file: FilePath | None = Field(default=None, description="its private key")

    @model_validator(mode="after")
    def _pair(self) -> TlsSettings:
        if (self.cert_file is None) != (self.key_file is None):
            raise located([((), "cert_file and key_file belong together")])
        return self


class BrokerSettings(Strict):
    """One MQTT broker."""

    host: str = Field(min_length=1, description="name or address")
    port: int = Field(default=1883, ge=1, le=65535, description="1883 plain, 8883 with TLS as a rule")


class MqttSettings(Strict):
    """Reporting to the plant over MQTT."""

    brokers: tuple[BrokerSettings, ...] = Field(min_length=1, description="tried in this order")
    tls: TlsSettings | None = Field(default=None, description="null: no TLS")
    username: str | None = Field(default=None, description="user at the broker")
    password_file: FilePath | None = Field(default=None, description="file that holds the password")
    client_id: str | None = Field(
        default=None, min_length=1, max_length=128, description="null: `lineside-` and the device's id"
    )
    keepalive: int = Field(default=30, ge=5, le=65535, description="seconds between signs of life")
    protocol: Literal["auto", "5", "3.1.1"] = Field(
        default="auto", description="auto: MQTT 5, and 3.1.1 where the broker refuses it or does not answer"
    )
    receive_maximum: int = Field(
        default=20, ge=1, le=65535, description="messages on their way at the same time"
    )

    json_dialect: bool = Field(default=True, description="speak the JSON dialect (docs/mqtt.md)")
    sparkplug: SparkplugSettings | None = Field(
        default=None, description="speak Sparkplug B as well, or instead; `{}` takes every default; null: not"
    )

    @model_validator(mode="after")
    def _speaks_something(self) -> MqttSettings:
        if not self.json_dialect and self.sparkplug is None:
            raise located([(("json_dialect",), "false needs `sparkplug`: without both nothing is reported")])
        return self

    @model_validator(mode="after")
    def _password_has_a_user(self) -> MqttSettings:
        if self.password_file is not None and self.username is None:
            raise located([(("password_file",), "needs a username")])
        return self
