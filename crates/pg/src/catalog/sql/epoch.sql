-- Changes with tokens, keys, budgets, channels and declarations; and with the place where the change stream is
-- passed on, which concerns nothing that is kept.
select rolegate.epoch(), rolegate.change_relay_term()
