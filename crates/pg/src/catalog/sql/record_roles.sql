-- Notes roles that are new.
select rolegate.record_roles()
