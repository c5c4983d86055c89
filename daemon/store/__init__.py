"""The store: every accepted part ends as exactly one verdict row, whatever crashes.

`Store` is the one door. The package knows nothing of cameras, engines, brokers or gRPC.
"""

from lineside.daemon.store.errors import Alarm as Alarm
from lineside.daemon.store.errors import AlarmCode as AlarmCode
from lineside.daemon.store.errors import EvidenceDamaged as EvidenceDamaged
from lineside.daemon.store.errors import EvidenceEvicted as EvidenceEvicted
from lineside.daemon.store.errors import EvidenceExpired as EvidenceExpired
from lineside.daemon.store.errors import EvidenceUnavailable as EvidenceUnavailable
from lineside.daemon.store.errors import Health as Health
from lineside.daemon.store.errors import NewerDatabase as NewerDatabase
from lineside.daemon.store.errors import StoreBusy as StoreBusy
from lineside.daemon.store.errors import StoreClosed as StoreClosed
from lineside.daemon.store.errors import StoreError as StoreError
from lineside.daemon.store.errors import StoreInUse as StoreInUse
from lineside.daemon.store.queries import Counts as Counts
from lineside.daemon.store.queries import ResultFilter as ResultFilter
from lineside.daemon.store.store import Store as Store
