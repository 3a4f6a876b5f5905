-- Each end of an attempt, when all is over. One of something that was not handed out has no `n`.
create index on public.placed (lane, id);
create index on public.claimed (claim);
analyze public.placed, public.claimed, public.outcome;
create table public.ending as
select p.n, o.claim, e.ordinal, c.at as claimed_at, coalesce(o.states[e.nth], 'c') as state, o.at
from public.outcome o
cross join unnest(o.ordinals) with ordinality e (ordinal, nth)
left join public.claimed c on c.claim = o.claim
left join public.placed p on p.lane = c.lane and p.id = c.jobs[e.ordinal];
create index on public.ending (n);
analyze public.ending;
