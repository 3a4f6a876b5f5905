-- Runs one statement; a second one is refused, because a cursor can hold only one. As a definer
-- function it cannot leave the role that owns it, whatever the statement calls.
create function pg_temp."the function" (statement text, arguments text[]) returns setof text
language plpgsql security definer as $$
declare
    line text;
begin
    for line in execute statement using arguments loop
        return next line;
    end loop;
end
$$
