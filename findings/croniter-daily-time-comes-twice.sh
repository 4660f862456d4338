#!/usr/bin/env bash
# croniter 7.0.0: on the day on which the clock goes back, a schedule of one time a day ("30 2 * * *") is
# due twice, an hour apart.
#
# One would expect: once a day, as cron itself does it (a job with a fixed hour and minute is not repeated
# in the repeated hour; one with a wildcard there is). cronsim 2.8, which follows Debian's cron, says so.
# Seen: croniter gives 02:30+02:00 and 02:30+01:00 of the same day, cronsim the first alone. In spring,
# when 02:30 does not exist, both give 03:00. For an hourly schedule both agree in autumn, too.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check croniter==7.0.0 cronsim==2.8 tzdata==2026.6
cat > "$dir/try.py" <<'PY'
from datetime import datetime
from zoneinfo import ZoneInfo
from croniter import croniter
from cronsim import CronSim

berlin = ZoneInfo("Europe/Berlin")


def due(times, count=3):
    return [next(times).strftime("%d %H:%M%z") for _ in range(count)]


for name, schedule, start in (
    ("autumn, daily ", "30 2 * * *", datetime(2026, 10, 24, 12, tzinfo=berlin)),
    ("autumn, hourly", "30 * * * *", datetime(2026, 10, 25, 1, 45, tzinfo=berlin)),
    ("spring, daily ", "30 2 * * *", datetime(2026, 3, 28, 12, tzinfo=berlin)),
):
    print(name, "croniter", *due(croniter(schedule, start, ret_type=datetime)))
    print(name, "cronsim ", *due(CronSim(schedule, start)))
PY
"$dir/venv/bin/python" "$dir/try.py" | tee "$dir/seen"
diff "$dir/seen" - <<'SEEN'
autumn, daily  croniter 25 02:30+0200 25 02:30+0100 26 02:30+0100
autumn, daily  cronsim  25 02:30+0200 26 02:30+0100 27 02:30+0100
autumn, hourly croniter 25 02:30+0200 25 02:30+0100 25 03:30+0100
autumn, hourly cronsim  25 02:30+0200 25 02:30+0100 25 03:30+0100
spring, daily  croniter 29 03:00+0200 30 02:30+0200 31 02:30+0200
spring, daily  cronsim  29 03:00+0200 30 02:30+0200 31 02:30+0200
SEEN
echo "croniter 7.0.0 still gives a daily time twice on the day the clock goes back"
