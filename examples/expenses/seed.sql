-- A few claims, so that there is something to see. Written as the people themselves.
set local role alice;
insert into app.expense_claim (amount, purpose) values (42.50, 'train to the customer'), (19.90, 'team lunch');
reset role;
set local role bob;
insert into app.expense_claim (amount, purpose, currency) values (120.00, 'hotel', 'CHF');
reset role;
set local role carol;
insert into app.expense_claim (amount, purpose) values (8.40, 'parking');
reset role;
