/* Prints holdfast.yaml(5); the target `manual` writes it to docs/. */
#include <stdio.h>

#include "config/config.h"

int main(void)
{
    config_manual_page(stdout);
    return 0;
}
