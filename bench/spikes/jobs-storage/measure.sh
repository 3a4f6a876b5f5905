#!/bin/bash
# Rates, WAL and dead tuples of the spike beside a plain insert and beside update/delete, without
# and with a transaction that stays open. PGHOST, PGPORT, PGUSER and PGDATABASE say where; the schema
# `q` there is dropped.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sql() { psql -X -v ON_ERROR_STOP=1 -Atq "$@"; }
bench() { pgbench -n -M prepared -j 1 "$@" 2>/dev/null; }
rate() { grep -o 'tps = [0-9]*' | tr -dc 0-9; }
wal() { sql -c "select pg_current_wal_insert_lsn() - '0/0'"; }

sql -c "set client_min_messages = error" -c "drop schema if exists q cascade" -f "$here/schema.sql"
cd "$work"
echo "insert into q.plain (a, b, c, d) values (1, 1, 1, repeat('x', 256));" >plain.sql
echo "select q.enqueue(1, 1, repeat('x', 256));" >ours.sql
echo "insert into q.classic (queue, kind, principal, args) values (1, 1, 1, repeat('x', 256));" >classic.sql
printf '%s\n' 'begin;' 'select pg_current_xact_id();' '\sleep 22 s' 'commit;' >pin.sql
cat >ours_drain.sql <<'X'
select coalesce(claim_id, 0) as c, coalesce(cardinality(jobs), 0) as n from q.claim(1, 512, 1) \gset
\if :n
select q.complete(:c, (select array_agg(i::int2) from generate_series(1, :n) i));
\endif
X
cat >classic_drain.sql <<'X'
select q.classic_claim(512)::text as ids \gset
delete from q.classic where id = any (:ids::bigint[]);
X

drain() { # name, table, names of the tables that may bloat
    local n before after start took
    n=$(sql -c "select count(*) from q.$2")
    before=$(wal)
    start=$(date +%s%N)
    bench -f "$1_drain.sql" -c 2 -t $((n / 1024 + 2)) >"$1.log"
    took=$(($(date +%s%N) - start))
    after=$(wal)
    sleep 1
    echo "  $1: $n jobs, $((n * 1000000 / (took / 1000)))/s, WAL $(((after - before) / n)) bytes/job, dead $(
        sql -c "select sum(n_dead_tup) from pg_stat_user_tables where schemaname = 'q' and relname ~ '$3'"
    )"
}

for pin in no yes; do
    for round in 1 2; do
        sql -c "truncate q.job, q.claim, q.outcome, q.plain, q.classic" -c checkpoint
        if [ $pin = yes ]; then
            pgbench -n -f pin.sql -t 1 >/dev/null 2>&1 &
            sleep 0.3
        fi
        for c in 1 8; do
            echo "open transaction: $pin, round $round, $c clients: plain $(bench -f plain.sql -c $c -T 2 | rate)," \
                "ours $(bench -f ours.sql -c $c -T 2 | rate), classic $(bench -f classic.sql -c $c -T 2 | rate)"
        done
        drain ours job '^(job|claim|outcome|ring)'
        drain classic classic '^classic'
        wait
    done
done
