-- What is read by a query: a row of a table with a policy, and of two that are granted to PUBLIC. The change stream
-- does not see what happens to the first of these, which has no primary key, so its answers are not kept.
create table api.doc (id int primary key, owner name not null, title text not null);
insert into api.doc select g, case when g % 2 = 1 then 'alice' else 'bob' end, 'bench-echo-7f3a ' || g
from generate_series(1, 10000) g;
create table api.public_doc as select * from api.doc;
create unique index on api.public_doc (id);
create table api.kept_doc as select * from api.doc;
alter table api.kept_doc add primary key (id);
analyze api.doc, api.public_doc, api.kept_doc;
alter table api.doc enable row level security;
create policy own on api.doc for select using (owner = current_user);
grant select on api.doc to alice, bob;
grant select on api.public_doc, api.kept_doc to public;
