-- What the recorded streams show, one commit after another. Lines of dashes separate the batches, which
-- are sent one by one, each a transaction unless it says otherwise.
create table plain (id integer primary key, name text, note text);
create table whole (id integer, name text, note text);
alter table whole replica identity full;
create table indexed (id integer, code text not null, region text not null);
create unique index indexed_code on indexed (code, region);
alter table indexed replica identity using index indexed_code;
create table nameless (word text);
create type mood as enum ('good', 'bad');
create domain positive as integer check (value > 0);
create table typed (id bigint primary key, mood mood, number positive, at timestamptz, parts numeric(10, 2)[]);
create table columns (id integer primary key, shown text, hidden text);
create table parted (id integer, part integer, primary key (id, part)) partition by list (part);
create table parted_one partition of parted for values in (1);
create table parted_two partition of parted for values in (2);
create table unpublished (id integer);
alter table plain alter note set storage external;
alter table whole alter note set storage external;
create publication recording for table plain, whole, indexed, typed, columns (id, shown), parted;
create publication recording_inserts for table nameless with (publish = 'insert, truncate');
----
select pg_create_logical_replication_slot('SLOT', 'pgoutput');
----
insert into plain values (1, 'one', null), (2, null, 'x');
----
update plain set name = 'ONE' where id = 1;
----
update plain set id = 10 where id = 1;
----
delete from plain where id = 10;
----
insert into whole values (1, 'one', null), (1, 'one', null);
update whole set name = 'two';
delete from whole;
----
insert into indexed values (1, 'a', 'eu');
update indexed set id = 2;
update indexed set region = 'us';
delete from indexed;
----
-- A value out of line that does not change is not sent.
insert into plain values (3, 'big', repeat('long', 700));
insert into whole values (3, 'big', repeat('long', 700));
----
update plain set name = 'Big' where id = 3;
update whole set name = 'Big' where id = 3;
----
insert into nameless values ('word'), (null);
----
insert into typed values (1, 'good', 5, '2026-02-03 04:05:06.789+00', array[1.5, null]);
update typed set mood = 'bad';
----
insert into columns values (1, 'yes', 'no');
update columns set hidden = 'still';
delete from columns;
----
insert into parted values (1, 1), (2, 2);
update parted set part = 2 where id = 1;
----
insert into plain values (20, 'before', null);
alter table plain add column more integer;
insert into plain (id, more) values (21, 7);
alter table plain drop column note;
insert into plain (id) values (22);
----
-- What was rolled back is not sent.
begin;
insert into plain (id) values (30);
savepoint s;
insert into plain (id) values (31);
rollback to s;
insert into plain (id) values (32);
commit;
----
insert into unpublished values (1);
----
select pg_logical_emit_message(true, 'rolegate', 'ddl 1 2');
select pg_logical_emit_message(true, 'rolegate', 'hello world');
select pg_logical_emit_message(true, 'somebody', 'else');
----
select pg_logical_emit_message(false, 'rolegate', 'outside');
----
truncate plain, whole, parted restart identity cascade;
----
select pg_replication_origin_session_setup('SLOT');
select pg_replication_origin_xact_setup('0/ABCDEF', '2026-01-01 00:00:00+00');
insert into plain (id) values (40);
----
select pg_replication_origin_session_reset();
----
begin;
insert into plain (id) values (50);
prepare transaction 'SLOT';
----
insert into plain (id) values (60);
----
commit prepared 'SLOT';
----
delete from plain where id = 60;
drop table plain;
