-- $2: a role. How the role of the question comes to have its rights, if it has.
select w.chain from way w where w.oid = $2::pg_catalog.oid order by w.steps, w.chain limit 1
