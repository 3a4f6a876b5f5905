-- The plain transaction in one pipeline: what a gateway without read-back and hygiene would send.
\startpipeline
begin;
select pg_catalog.set_config('role', :role, true), pg_catalog.set_config('request.jwt.claims', :claims, true), pg_catalog.set_config('search_path', :search_path, true);
select ("api"."echo"(:argument))::pg_catalog.text;
commit;
\endpipeline
