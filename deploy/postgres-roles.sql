-- Run once, by the superuser, in the new database. The services log in as `vader`, which owns the tables and
-- nothing else: it is no superuser, makes no roles and can leave row-level security aside for its own tables only.
\set ON_ERROR_STOP on
\getenv password VADER_DATABASE_PASSWORD
CREATE ROLE vader LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD :'password';
-- As whom requests are served: migration 0010 gives it its rights, and policies that show one project.
CREATE ROLE vader_tenant NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
GRANT vader_tenant TO vader WITH INHERIT FALSE, SET TRUE;
SELECT format('ALTER DATABASE %I OWNER TO vader', current_database()) \gexec
-- For migration 0010, where only a superuser may say so: the filter of jobs by labels can then use its index.
ALTER FUNCTION jsonb_contains(jsonb, jsonb) LEAKPROOF;
-- The same for migration 0014 and the filter by rewards.
ALTER FUNCTION arraycontains(anyarray, anyarray) LEAKPROOF;
-- The same for migration 0004 and the search in jobs' names.
SELECT count(*) > 0 AS has_trigrams FROM pg_available_extensions WHERE name = 'pg_trgm' \gset
\if :has_trigrams
CREATE EXTENSION IF NOT EXISTS pg_trgm;
ALTER FUNCTION texticlike(text, text) LEAKPROOF;
\endif
