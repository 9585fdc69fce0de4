/* Linked into sanitized tests: modules that Open MPI loads stay loaded, so that a leak of theirs can be told by its module. */
int dlclose(void *module);

int dlclose(void *module)
{
    (void)module;
    return 0;
}
