-- Statement by statement what the gateway sends for one private query in login mode
-- (crates/pg/src/session/batch.rs and hygiene.rs). Between the two segments stands a Sync.
\set id 2 * random(0, 4999) + 1
\startpipeline
begin read only;
select pg_catalog.set_config(:n1, :timeout, true), pg_catalog.set_config(:n2, :method, true), pg_catalog.set_config(:n3, :path, true), pg_catalog.set_config(:n4, :headers, true), pg_catalog.set_config(:n10, :read_only, true), pg_catalog.set_config(:n5, :search_path, true), pg_catalog.set_config(:n6, :claims, true), pg_catalog.set_config(:n7, :signed, true), pg_catalog.set_config(:n8, :read_only, true), pg_catalog.set_config(:n9, :role, true);
select q."id", q."title" from (select id, title from api.doc where id = :id) q;
set constraints all immediate;
close all;
select case when (pg_catalog.current_setting('role') operator(pg_catalog.=) :role::pg_catalog.text and session_user operator(pg_catalog.=) :session_user::pg_catalog.text and current_user operator(pg_catalog.=) :session_user::pg_catalog.text and pg_catalog.current_setting('request.jwt.claims') operator(pg_catalog.=) :claims::pg_catalog.text and pg_catalog.current_setting('rolegate.signed_claims') operator(pg_catalog.=) :signed::pg_catalog.text) is not true then pg_catalog.concat('identity changed ', current_user)::pg_catalog.int4::pg_catalog.text when pg_catalog.pg_current_xact_id_if_assigned() is not null then pg_catalog.concat('written by ', current_user)::pg_catalog.date::pg_catalog.text else pg_catalog.current_setting('response.status', true) end, pg_catalog.current_setting('response.headers', true);
commit;
-- SYNC
set session authorization default;
reset all;
close all;
unlisten *;
discard temp;
discard sequences;
select pg_catalog.pg_advisory_unlock_all(), pg_catalog.setseed(:seed::pg_catalog.float8), rolegate.session_statements();
\endpipeline
